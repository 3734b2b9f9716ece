// How each 8-bit operation packs its weights: columns in runs where sums are stored straight away, in order
// for BlockSums.
#pragma once

#include "cuda/int8_packing.h"

namespace mvf::cuda {

struct Int8LinearPacking {
  static Int8MatrixPlaces Places(const Int8LinearShape& shape) {
    return {ColumnOrder::kInRuns, shape.out, shape.in, 0};
  }
  static size_t Bytes(const Int8LinearShape& shape) { return static_cast<size_t>(Places(shape).end()); }
  static void Pack(const Int8LinearShape& shape, const Int8LinearWeights& weights, void* packed) {
    PackInt8Matrix(Places(shape), weights.weights, weights.requantization, shape.input_zero,
                   static_cast<std::byte*>(packed));
  }
};

// Depth runs over the taps, then over the channels of both inputs.
struct Int8ConvPacking {
  static Int8MatrixPlaces Places(const Int8Conv3x3Shape& shape) {
    return {ColumnOrder::kInRuns, shape.out, 9 * (shape.in + shape.in_second), 0};
  }
  static size_t Bytes(const Int8Conv3x3Shape& shape) { return static_cast<size_t>(Places(shape).end()); }
  static void Pack(const Int8Conv3x3Shape& shape, const Int8Conv3x3Weights& weights, void* packed) {
    const int64_t channels = shape.in + shape.in_second;
    const auto correction = [&](int64_t n) {
      int64_t sum = 0;
      for (int64_t tap = 0; tap < 9; ++tap) {
        const int8_t* of_tap = weights.weights.weight + (n * 9 + tap) * channels;
        sum -= shape.input_zero * SumOfWeights(of_tap, shape.in);
        sum -= shape.second_zero * SumOfWeights(of_tap + shape.in, shape.in_second);
      }
      return sum;
    };
    PackInt8Matrix(Places(shape), weights.weights, weights.requantization, correction,
                   static_cast<std::byte*>(packed));
  }
};

struct Int8FfnPacking {
  static Int8MatrixPlaces Up(const Int8FfnShape& shape) {
    return {ColumnOrder::kInOrder, shape.hidden, shape.dim, 0};
  }
  static Int8MatrixPlaces Down(const Int8FfnShape& shape) {
    return {ColumnOrder::kInOrder, shape.dim, shape.hidden, Up(shape).end()};
  }
  static size_t Bytes(const Int8FfnShape& shape) { return static_cast<size_t>(Down(shape).end()); }
  static void Pack(const Int8FfnShape& shape, const Int8FfnWeights& weights, void* packed) {
    auto* bytes = static_cast<std::byte*>(packed);
    PackInt8Matrix(Up(shape), weights.up, weights.up_requantization, shape.input_zero, bytes);
    PackInt8Matrix(Down(shape), weights.down, {weights.down_multiplier, nullptr, nullptr}, shape.hidden_zero,
                   bytes);
  }
};

// The depthwise part: taps [9][expanded], padded as its columns are.
struct Int8InvertedResidualPlaces {
  Int8MatrixPlaces expand;
  Int8MatrixPlaces project;
  int64_t channels;  // padded
  int64_t taps;
  Int8ColumnPlaces depthwise;

  explicit Int8InvertedResidualPlaces(const Int8InvertedResidualShape& shape)
      : expand(ColumnOrder::kInRuns, shape.expanded, shape.in, 0),
        project(ColumnOrder::kInOrder, shape.out, shape.expanded, expand.end()),
        channels(PackedColumns(shape.expanded)),
        taps(project.end()),
        depthwise(shape.expanded, PadTo(taps + 9 * channels, kAlignment)) {}
};

struct Int8InvertedResidualPacking {
  static size_t Bytes(const Int8InvertedResidualShape& shape) {
    return static_cast<size_t>(Int8InvertedResidualPlaces(shape).depthwise.end);
  }
  static void Pack(const Int8InvertedResidualShape& shape, const Int8InvertedResidualWeights& weights,
                   void* packed) {
    const Int8InvertedResidualPlaces places(shape);
    auto* bytes = static_cast<std::byte*>(packed);
    PackInt8Matrix(places.expand, weights.expand, weights.expand_requantization, shape.input_zero, bytes);
    PackInt8Matrix(places.project, weights.project, weights.project_requantization, shape.depthwise_zero,
                   bytes);
    std::fill(bytes + places.taps, bytes + places.depthwise.start, std::byte{0});
    const int8_t* taps = weights.depthwise.weight;
    for (int64_t tap = 0; tap < 9; ++tap) {
      std::memcpy(bytes + places.taps + tap * places.channels, taps + tap * shape.expanded,
                  static_cast<size_t>(shape.expanded));
    }
    const auto correction = [&](int64_t c) {
      int64_t sum = 0;
      for (int64_t tap = 0; tap < 9; ++tap) sum -= shape.expanded_zero * taps[tap * shape.expanded + c];
      return sum;
    };
    PackInt8Columns(places.depthwise, weights.depthwise.bias, weights.depthwise_requantization, correction,
                    bytes);
  }
};

}  // namespace mvf::cuda

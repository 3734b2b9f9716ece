// Weights as the kernels read them, made on the host: tiles of fragments (matrix.h), then what is added.
#pragma once

#include <algorithm>

#include "base/half.h"
#include "cuda/matrix.h"
#include "kernels/kernel_table.h"

namespace mvf::cuda {

// Weights [columns][depth] and a bias [columns].
struct MatrixPlaces {
  int64_t columns;
  int64_t depth;
  int64_t weights;  // bytes from the start of what is packed
  int64_t bias;
  int64_t end;
};

constexpr int64_t PackedColumns(int64_t columns) { return PadTo(columns, kPackedColumns); }
constexpr int64_t PackedTiles(int64_t depth) { return DivideUp(depth, kTileDepth); }

template <class Element>
constexpr MatrixPlaces PlaceMatrix(int64_t columns, int64_t depth, int64_t start) {
  const int64_t elements = PackedColumns(columns) * PackedTiles(depth) * kTileDepth;
  const int64_t bias = PadTo(start + elements * static_cast<int64_t>(sizeof(Element)), kAlignment);
  const int64_t end = bias + PackedColumns(columns) * static_cast<int64_t>(sizeof(float));
  return {columns, depth, start, bias, static_cast<int64_t>(PadTo(end, kAlignment))};
}

template <class Element>
void PackMatrix(const MatrixPlaces& places, const float* weight, const float* bias, std::byte* packed) {
  auto* tiles = reinterpret_cast<Element*>(packed + places.weights);
  const int64_t depth_tiles = PackedTiles(places.depth);
  std::fill(packed + places.weights, packed + places.end, std::byte{0});
  for (int64_t n = 0; n < places.columns; ++n) {
    for (int64_t k = 0; k < places.depth; ++k) {
      const int64_t tile = n / kTileColumns * depth_tiles + k / kTileDepth;
      const int place =
          Matrix<Element>::PlaceInTile(static_cast<int>(n % kTileColumns), static_cast<int>(k % kTileDepth));
      tiles[tile * kTileElements + place] = RoundTo<Element>(weight[n * places.depth + k]);
    }
  }
  if (bias) std::copy_n(bias, places.columns, reinterpret_cast<float*>(packed + places.bias));
}

// The same weights where a kernel reads them.
template <class Element>
struct PackedMatrix {
  const Element* weights;
  const float* bias;
  int depth_tiles;

  PackedMatrix() = default;
  PackedMatrix(const MatrixPlaces& places, const void* packed)
      : weights(reinterpret_cast<const Element*>(static_cast<const std::byte*>(packed) + places.weights)),
        bias(reinterpret_cast<const float*>(static_cast<const std::byte*>(packed) + places.bias)),
        depth_tiles(static_cast<int>(PackedTiles(places.depth))) {}

  // The tile of columns 8 * column_tile on, at depth 32 * depth_tile.
  MVF_DEVICE const Element* Tile(int column_tile, int depth_tile) const {
    return weights + (static_cast<int64_t>(column_tile) * depth_tiles + depth_tile) * kTileElements;
  }
};

// ---- each operation's ----------------------------------------------------------------------------------

template <class Element>
struct LinearPacking {
  static MatrixPlaces Places(const LinearShape& shape) {
    return PlaceMatrix<Element>(shape.out, shape.in, 0);
  }
  static size_t Bytes(const LinearShape& shape) { return static_cast<size_t>(Places(shape).end); }
  static void Pack(const LinearShape& shape, const LinearWeights& weights, void* packed) {
    PackMatrix<Element>(Places(shape), weights.weight, weights.bias, static_cast<std::byte*>(packed));
  }
};

// Depth runs over the taps, then over the channels of both inputs.
template <class Element>
struct ConvPacking {
  static MatrixPlaces Places(const Conv3x3Shape& shape) {
    return PlaceMatrix<Element>(shape.out, 9 * (shape.in + shape.in_second), 0);
  }
  static size_t Bytes(const Conv3x3Shape& shape) { return static_cast<size_t>(Places(shape).end); }
  static void Pack(const Conv3x3Shape& shape, const Conv3x3Weights& weights, void* packed) {
    PackMatrix<Element>(Places(shape), weights.weight, weights.bias, static_cast<std::byte*>(packed));
  }
};

struct TwoMatrixPlaces {
  MatrixPlaces first;
  MatrixPlaces second;
};

template <class Element>
struct FfnPacking {
  static TwoMatrixPlaces Places(const FfnShape& shape) {
    const MatrixPlaces up = PlaceMatrix<Element>(shape.hidden, shape.dim, 0);
    return {up, PlaceMatrix<Element>(shape.dim, shape.hidden, up.end)};
  }
  static size_t Bytes(const FfnShape& shape) { return static_cast<size_t>(Places(shape).second.end); }
  static void Pack(const FfnShape& shape, const FfnWeights& weights, void* packed) {
    const TwoMatrixPlaces places = Places(shape);
    auto* bytes = static_cast<std::byte*>(packed);
    PackMatrix<Element>(places.first, weights.up.weight, weights.up.bias, bytes);
    PackMatrix<Element>(places.second, weights.down.weight, weights.down.bias, bytes);
  }
};

// The depthwise part in float: [9][expanded], then its bias, channels padded as the expansion's columns are.
struct InvertedResidualPlaces {
  MatrixPlaces expand;
  MatrixPlaces project;
  int64_t taps;
  int64_t taps_bias;
  int64_t channels;  // padded
  int64_t end;
};

template <class Element>
struct InvertedResidualPacking {
  static InvertedResidualPlaces Places(const InvertedResidualShape& shape) {
    const MatrixPlaces expand = PlaceMatrix<Element>(shape.expanded, shape.in, 0);
    const MatrixPlaces project = PlaceMatrix<Element>(shape.out, shape.expanded, expand.end);
    const int64_t channels = PackedColumns(shape.expanded), row = channels * 4;
    return {expand, project, project.end, project.end + 9 * row, channels, project.end + 10 * row};
  }
  static size_t Bytes(const InvertedResidualShape& shape) { return static_cast<size_t>(Places(shape).end); }
  static void Pack(const InvertedResidualShape& shape, const InvertedResidualWeights& weights, void* packed) {
    const InvertedResidualPlaces places = Places(shape);
    auto* bytes = static_cast<std::byte*>(packed);
    PackMatrix<Element>(places.expand, weights.expand.weight, weights.expand.bias, bytes);
    PackMatrix<Element>(places.project, weights.project.weight, weights.project.bias, bytes);
    std::fill(bytes + places.taps, bytes + places.end, std::byte{0});
    auto* taps = reinterpret_cast<float*>(bytes + places.taps);
    for (int64_t tap = 0; tap < 9; ++tap) {
      std::copy_n(weights.depthwise.weight + tap * shape.expanded, shape.expanded,
                  taps + tap * places.channels);
    }
    if (weights.depthwise.bias) {
      std::copy_n(weights.depthwise.bias, shape.expanded, reinterpret_cast<float*>(bytes + places.taps_bias));
    }
  }
};

}  // namespace mvf::cuda

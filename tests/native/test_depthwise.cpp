// The depthwise convolution and the inverted residual beyond what the tests of all tables reach: maps of many
// bands with gaps, every way in which a row can end, ranges of rows, elements of bfloat16.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/memory.h"
#include "check.h"
#include "gapped_map.h"
#include "kernels/dispatch.h"
#include "plain_table.h"
#include "sample_plan.h"
#include "short_tables.h"

namespace mvf {
namespace {

using mvf_test::GappedMap;
using mvf_test::PlainTable;
using mvf_test::RandomFloats;
using mvf_test::RunInRanges;
using mvf_test::TablesOfFloats;
using mvf_test::ToleranceOf;

constexpr double kTolerance = 5e-6;

int64_t Strided(int64_t size, int64_t stride) { return (size - 1) / stride + 1; }

// The operation of every table, whole and in ranges, against the plain loops.
template <class Shape, class Weights, class Args>
void CompareTables(Packing<Shape, Weights> KernelTable::*packing, Kernel<Args> KernelTable::*kernel,
                   Args args, const Weights& weights, int64_t channels, const std::string& what) {
  const int64_t height = Strided(args.input.height, args.shape.stride),
                width = Strided(args.input.width, args.shape.stride);
  GappedMap expected(height, width, channels);
  RunInRanges(PlainTable().*packing, PlainTable().*kernel, args, weights, expected, height);
  for (const KernelTable* table : TablesOfFloats()) {
    GappedMap whole(height, width, channels), parts(height, width, channels);
    RunInRanges(table->*packing, table->*kernel, args, weights, whole, height);
    RunInRanges(table->*packing, table->*kernel, args, weights, parts, 3);
    const std::string of_table = std::string(table->name) + " " + what + ", stride " +
                                 std::to_string(args.shape.stride) + ", width " +
                                 std::to_string(args.input.width);
    whole.CheckAgainst(expected, ToleranceOf(*table, kTolerance), of_table);
    if (whole.floats() != parts.floats()) {
      mvf_test::Fail(__FILE__, __LINE__, of_table + ": ranges differ");
    }
  }
}

InvertedResidualWeights RandomWeights(RandomFloats& floats, const InvertedResidualShape& shape) {
  return {floats.Linear(shape.expanded, shape.in),
          {floats.Make(9 * shape.expanded), floats.Make(shape.expanded)},
          floats.Linear(shape.out, shape.expanded)};
}

TEST(depthwise, dwconv3x3_of_every_width_with_gaps) {
  RandomFloats floats;
  constexpr int64_t kHeight = 11, kChannels = 37;
  const DwConv3x3Weights weights{floats.Make(9 * kChannels), floats.Make(kChannels)};
  for (int64_t width = 1; width <= 21; ++width) {
    GappedMap input(kHeight, width, kChannels);
    input.Fill(floats.Make(kHeight * width * kChannels));
    for (int64_t stride : {1, 2}) {
      DwConv3x3Args args;
      args.shape = {kChannels, stride, Activation::kSilu};
      args.input = input.map();
      CompareTables(&KernelTable::dwconv3x3_packing, &KernelTable::dwconv3x3, args, weights, kChannels,
                    "dwconv3x3");
    }
  }
}

TEST(depthwise, inverted_residual_of_every_width_with_gaps) {
  RandomFloats floats;
  constexpr int64_t kHeight = 11, kIn = 13, kExpanded = 75;
  const InvertedResidualShape shapes[] = {
      {kIn, kExpanded, kIn, 1, true}, {kIn, kExpanded, 37, 1, false}, {kIn, kExpanded, 16, 2, false}};
  for (const InvertedResidualShape& shape : shapes) {
    const InvertedResidualWeights weights = RandomWeights(floats, shape);
    for (int64_t width = 1; width <= 27; ++width) {
      GappedMap input(kHeight, width, kIn);
      input.Fill(floats.Make(kHeight * width * kIn));
      InvertedResidualArgs args;
      args.shape = shape;
      args.input = input.map();
      CompareTables(&KernelTable::inverted_residual_packing, &KernelTable::inverted_residual, args, weights,
                    shape.out, "inverted_residual");
    }
  }
}

// Where 1 + exp(-x) leaves the range of floats.
TEST(depthwise, silu_of_large_numbers) {
  constexpr int64_t kChannels = 6;
  const std::vector<float> numbers = {-1e30f, -200.0f, -88.0f, 88.0f, 200.0f, 1e30f};
  const float silu[kChannels] = {0.0f, 0.0f, 0.0f, 88.0f, 200.0f, 1e30f};
  std::vector<float> weights(9 * kChannels, 0.0f);
  std::fill_n(weights.begin() + 4 * kChannels, kChannels, 1.0f);
  for (const KernelTable* table : RunnableTables()) {
    GappedMap input(1, 1, kChannels), output(1, 1, kChannels);
    input.Fill(numbers.data());
    DwConv3x3Args args;
    args.shape = {kChannels, 1, Activation::kSilu};
    args.input = input.map();
    RunInRanges(table->dwconv3x3_packing, table->dwconv3x3, args, DwConv3x3Weights{weights.data(), nullptr},
                output, 1);
    for (int64_t c = 0; c < kChannels; ++c) {
      CHECK(std::fabs(output.map().Pixel<float>(0, 0)[c] - silu[c]) <= 1e-6 * std::fmax(1.0f, silu[c]));
    }
  }
}

// And where 1 + 2^(-x log2(e)) leaves that of halves.
TEST(depthwise, silu_of_numbers_that_are_large_for_halves) {
  constexpr int64_t kChannels = 7;
  const std::vector<float> numbers = {-60000.0f, -300.0f, -20.0f, -9.0f, 9.0f, 300.0f, 60000.0f};
  std::vector<float> weights(9 * kChannels, 0.0f);
  std::fill_n(weights.begin() + 4 * kChannels, kChannels, 1.0f);
  for (const KernelTable* table : TablesOfFloats()) {
    GappedMap input(1, 1, kChannels), output(1, 1, kChannels);
    input.Fill(numbers.data());
    DwConv3x3Args args;
    args.shape = {kChannels, 1, Activation::kSilu};
    args.input = input.map();
    RunInRanges(table->dwconv3x3_packing, table->dwconv3x3, args, DwConv3x3Weights{weights.data(), nullptr},
                output, 1);
    for (size_t c = 0; c < kChannels; ++c) {
      const double x = numbers[c], silu = x / (1 + std::exp(-x));
      CHECK(std::fabs(output.map().Pixel<float>(0, 0)[c] - silu) <= ToleranceOf(*table, 1e-6) * std::fabs(x));
    }
  }
}

float ToFloat(Bf16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

Bf16 Truncated(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return {static_cast<uint16_t>(bits >> 16)};
}

// Odd numbers of channels too, which are not made of whole pairs.
TEST(depthwise, inverted_residual_in_bfloat16) {
  RandomFloats floats;
  constexpr int64_t kHeight = 9, kWidth = 18;
  constexpr double kBf16Tolerance = 2e-2;
  for (int64_t in : {16, 21}) {
    for (int64_t stride : {1, 2}) {
      const InvertedResidualShape shape = {in, 2 * in + 1, in, stride, stride == 1};
      const InvertedResidualWeights weights = RandomWeights(floats, shape);
      const int64_t height = Strided(kHeight, stride), width = Strided(kWidth, stride);
      const float* values = floats.Make(kHeight * kWidth * in);
      std::vector<Bf16> rounded(static_cast<size_t>(kHeight * kWidth * in));
      std::vector<float> exact(rounded.size());
      for (size_t i = 0; i < rounded.size(); ++i) {
        rounded[i] = Truncated(values[i]);
        exact[i] = ToFloat(rounded[i]);
      }
      InvertedResidualArgs args;
      args.shape = shape;
      args.input = DenseMap(exact.data(), kHeight, kWidth, in);
      GappedMap expected(height, width, shape.out);
      RunInRanges(PlainTable().inverted_residual_packing, PlainTable().inverted_residual, args, weights,
                  expected, height);
      args.input.data = rounded.data();
      for (const KernelTable* table : RunnableTables(Precision::kBf16)) {
        std::vector<Bf16> result(static_cast<size_t>(height * width * shape.out));
        args.output = DenseMap(result.data(), height, width, shape.out);
        const auto& packing = table->inverted_residual_packing;
        const AlignedBuffer packed(packing.packed_bytes(shape) + kAlignment, "weights");
        packing.pack(shape, weights, packed.data());
        args.packed = packed.data();
        const AlignedBuffer scratch(table->inverted_residual.scratch_bytes(args) + kAlignment,
                                    "scratch memory");
        table->inverted_residual.run(args, {0, height}, scratch.data());
        GappedMap actual(height, width, shape.out);
        std::vector<float> widened(result.size());
        std::transform(result.begin(), result.end(), widened.begin(), ToFloat);
        actual.Fill(widened.data());
        actual.CheckAgainst(expected, kBf16Tolerance, table->name);
      }
    }
  }
}

}  // namespace
}  // namespace mvf

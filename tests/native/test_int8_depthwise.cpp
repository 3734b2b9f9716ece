// The 8-bit depthwise convolution and the inverted residual, on every table, against plain loops: bytes must
// be equal.
#include <cmath>

#include "check.h"
#include "plain_int8.h"

namespace mvf {
namespace {

using namespace mvf_test;

int64_t OutSize(int64_t size, int64_t stride) { return (size - 1) / stride + 1; }

// A depthwise convolution's weights, and its output in plain loops.
struct PlainDepthwise {
  PlainDepthwise(Random& random, int64_t channels, int64_t stride, int32_t zero, Draw draw, bool with_table)
      : channels(channels),
        stride(stride),
        zero(zero),
        weight(random.MakeWeights(9 * channels, draw)),
        bias(random.MakeInts(channels, -3000, 3000)),
        requantization(random, channels, 9, with_table) {}

  Bytes Apply(const Bytes& input, int64_t height, int64_t width) const {
    Bytes output;
    for (int64_t y = 0; y < OutSize(height, stride); ++y) {
      for (int64_t x = 0; x < OutSize(width, stride); ++x) {
        for (int64_t c = 0; c < channels; ++c) {
          int32_t sum = bias[static_cast<size_t>(c)];
          for (int64_t tap = 0; tap < 9; ++tap) {
            const int64_t in_y = stride * y + tap / 3 - 1, in_x = stride * x + tap % 3 - 1;
            if (in_y < 0 || in_y >= height || in_x < 0 || in_x >= width) continue;
            const size_t at = static_cast<size_t>((in_y * width + in_x) * channels + c);
            sum += (input[at] - zero) * weight[static_cast<size_t>(tap * channels + c)];
          }
          output.push_back(requantization.Apply(sum, c));
        }
      }
    }
    return output;
  }

  int64_t channels, stride;
  int32_t zero;
  Weights weight;
  std::vector<int32_t> bias;
  PlainRequantization requantization;
};

// A 1x1 convolution's weights, and its output in plain loops.
struct PlainPointwise {
  PlainPointwise(Random& random, int64_t in, int64_t out, int32_t zero, Draw draw, bool with_table)
      : in(in),
        out(out),
        zero(zero),
        weight(random.MakeWeights(out * in, draw)),
        bias(random.MakeInts(out, -3000, 3000)),
        requantization(random, out, in, with_table) {}

  int32_t Sum(const Bytes& input, int64_t pixel, int64_t n) const {
    return static_cast<int32_t>(
        bias[static_cast<size_t>(n)] +
        PlainDot(&input[static_cast<size_t>(pixel * in)], &weight[static_cast<size_t>(n * in)], in, zero));
  }
  Bytes Apply(const Bytes& input) const {
    Bytes output;
    for (int64_t i = 0; i < static_cast<int64_t>(input.size()) / in * out; ++i) {
      output.push_back(requantization.Apply(Sum(input, i / out, i % out), i % out));
    }
    return output;
  }

  int64_t in, out;
  int32_t zero;
  Weights weight;
  std::vector<int32_t> bias;
  PlainRequantization requantization;
};

// Runs on maps with gaps and on dense ones.
template <class Shape, class LayerWeights, class Args>
void CheckOnMaps(const Packing<Shape, LayerWeights>& packing, const Kernel<Args>& kernel, Args args,
                 const LayerWeights& weights, const Bytes& input, const Bytes& expected, int64_t out_channels,
                 int parts) {
  const Map in = args.input;
  const int64_t stride = args.shape.stride;
  const int64_t out_height = OutSize(in.height, stride), out_width = OutSize(in.width, stride);
  const GappedBytes gapped(in.height, in.width, input, in.channels);
  const GappedBytes output(out_height, out_width, out_channels);
  args.input = gapped.map();
  args.output = output.map();
  RunPacked(packing, kernel, args, weights, out_height, parts);
  CHECK(output.Dense() == expected);
  CHECK(output.GapsAreWhole());
  Bytes dense_input = input, dense_output(expected.size());
  args.input = DenseMap(dense_input.data(), in.height, in.width, in.channels);
  args.output = DenseMap(dense_output.data(), out_height, out_width, out_channels);
  RunPacked(packing, kernel, args, weights, out_height, parts);
  CHECK(dense_output == expected);
}

void CheckDepthwise(Random& random, int64_t height, int64_t width, int64_t channels, int64_t stride,
                    int32_t zero, Draw draw) {
  const PlainDepthwise plain(random, channels, stride, zero, draw, channels % 2 == 0);
  const Bytes input = random.MakeBytes(height * width * channels, draw);
  const Bytes expected = plain.Apply(input, height, width);
  const Int8DwConv3x3Weights weights = {{plain.weight.data(), plain.bias.data()}, plain.requantization.Get()};
  ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
    Int8DwConv3x3Args args;
    args.shape = {channels, stride, zero};
    args.input = {nullptr, height, width, channels, 0, 0};
    CheckOnMaps(kernels.dwconv3x3_packing, kernels.dwconv3x3, args, weights, input, expected, channels,
                parts);
  });
}

TEST(int8_depthwise, dwconv3x3_is_exact_at_every_size) {
  Random random;
  for (int64_t size : {1, 2, 3, 4, 5, 7, 12, 17}) {
    for (int64_t channels : {1, 4, 7, 16, 24, 33, 70}) {
      for (int64_t stride : {1, 2}) {
        CheckDepthwise(random, size, size, channels, stride, 113, Draw::kRandom);
        CheckDepthwise(random, size + 1, 11 - size / 2, channels, stride, 5, Draw::kRandom);
      }
    }
  }
}

TEST(int8_depthwise, dwconv3x3_is_exact_at_its_extremes) {
  Random random;
  for (Draw draw : kDraws) {
    for (int32_t zero : {0, 255}) {
      for (int64_t stride : {1, 2}) CheckDepthwise(random, 6, 9, 21, stride, zero, draw);
    }
  }
}

struct ResidualCase {
  int64_t height, width, in, expanded, out, stride;
  bool residual;
  int32_t zero = 113;
  Draw draw = Draw::kRandom;
  bool with_tables = true;
};

void CheckInvertedResidual(Random& random, const ResidualCase& c) {
  const int32_t expanded_zero = 255 - c.zero, depthwise_zero = c.zero / 2;
  const PlainPointwise expand(random, c.in, c.expanded, c.zero, c.draw, c.with_tables);
  const PlainDepthwise depthwise(random, c.expanded, c.stride, expanded_zero, c.draw, c.with_tables);
  const PlainPointwise project(random, c.expanded, c.out, depthwise_zero, c.draw, false);
  constexpr float kResidualMultiplier = 0.37f;

  const Bytes input = random.MakeBytes(c.height * c.width * c.in, c.draw);
  const Bytes hidden = depthwise.Apply(expand.Apply(input), c.height, c.width);
  Bytes expected = project.Apply(hidden);
  if (c.residual) {
    for (int64_t i = 0; i < static_cast<int64_t>(expected.size()); ++i) {
      const size_t n = static_cast<size_t>(i % c.out), at = static_cast<size_t>(i);
      const float sum = std::fma(static_cast<float>(project.Sum(hidden, i / c.out, i % c.out)),
                                 project.requantization.multiplier[n], project.requantization.offset[n]);
      const float value = std::fma(static_cast<float>(input[at]), kResidualMultiplier, sum);
      expected[at] = static_cast<uint8_t>(std::nearbyint(std::fmin(std::fmax(value, 0.0f), 255.0f)));
    }
  }

  Int8InvertedResidualWeights weights;
  weights.expand = {expand.weight.data(), expand.bias.data()};
  weights.expand_requantization = expand.requantization.Get();
  weights.depthwise = {depthwise.weight.data(), depthwise.bias.data()};
  weights.depthwise_requantization = depthwise.requantization.Get();
  weights.project = {project.weight.data(), project.bias.data()};
  weights.project_requantization = project.requantization.Get();
  ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
    Int8InvertedResidualArgs args;
    args.shape = {c.in,   c.expanded,    c.out,          c.stride,           c.residual,
                  c.zero, expanded_zero, depthwise_zero, kResidualMultiplier};
    args.input = {nullptr, c.height, c.width, c.in, 0, 0};
    CheckOnMaps(kernels.inverted_residual_packing, kernels.inverted_residual, args, weights, input, expected,
                c.out, parts);
  });
}

TEST(int8_depthwise, inverted_residual_is_exact_at_every_size) {
  Random random;
  for (int64_t size : {1, 2, 3, 5, 8, 15}) {
    for (int64_t stride : {1, 2}) {
      CheckInvertedResidual(random, {size, size, 16, 64, 32, stride, false});
      CheckInvertedResidual(random, {size, size + 2, 24, 48, 24, stride, stride == 1});
      CheckInvertedResidual(random, {size + 1, size, 7, 29, 18, stride, false});
    }
  }
}

TEST(int8_depthwise, inverted_residual_is_exact_at_every_width) {
  Random random;
  for (int64_t width = 1; width <= 26; ++width) {
    for (int64_t stride : {1, 2}) CheckInvertedResidual(random, {4, width, 8, 40, 8, stride, stride == 1});
  }
}

TEST(int8_depthwise, inverted_residual_takes_any_channels) {
  Random random;
  for (int64_t in : {1, 3, 12, 33}) {
    for (int64_t expanded : {1, 6, 17, 66}) {
      for (int64_t out : {1, 20, 70}) CheckInvertedResidual(random, {5, 6, in, expanded, out, 1, false});
      CheckInvertedResidual(random, {6, 5, in, expanded, in, 1, true});
    }
  }
}

TEST(int8_depthwise, inverted_residual_is_exact_at_its_extremes) {
  Random random;
  for (Draw draw : kDraws) {
    for (int32_t zero : {0, 255}) {
      for (int64_t stride : {1, 2}) {
        CheckInvertedResidual(random, {6, 7, 160, 321, 160, stride, stride == 1, zero, draw});
      }
    }
  }
}

TEST(int8_depthwise, inverted_residual_without_tables) {
  Random random;
  CheckInvertedResidual(random, {9, 9, 32, 96, 32, 1, true, 113, Draw::kRandom, false});
}

}  // namespace
}  // namespace mvf

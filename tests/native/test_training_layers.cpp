// The training kernels of layers between batch norms, of every table, against plain loops in double.
#include <cmath>
#include <string>
#include <vector>

#include "engine/pack.h"
#include "training_case.h"

namespace mvf {
namespace {

using mvf_test::CheckClose;
using mvf_test::ChunkBegins;
using mvf_test::ForEachTable;
using mvf_test::kTolerance;
using mvf_test::RandomFloats;
using mvf_test::RunParts;
using mvf_test::Sums;
using mvf_test::ToFloat;
using mvf_test::Unwritten;

// A matrix [rows][channels] with a norm and an activation that nobody has applied yet.
struct NormedMatrix {
  int64_t channels;
  const float* raw;
  ChannelNorm norm;

  NormedMatrix(RandomFloats& floats, int64_t rows, int64_t channels, Activation activation)
      : channels(channels), raw(floats.Make(rows * channels)) {
    norm = {floats.Make(channels), floats.Make(channels), floats.Make(channels), activation};
  }

  double Raw(int64_t m, int64_t c) const { return raw[m * channels + c]; }
  double Before(int64_t m, int64_t c) const {
    return norm.scale ? Raw(m, c) * norm.scale[c] + norm.offset[c] : Raw(m, c);
  }
  bool silu() const { return norm.scale && norm.activation == Activation::kSilu; }
  double Sigmoid(int64_t m, int64_t c) const { return 1 / (1 + std::exp(-Before(m, c))); }
  double X(int64_t m, int64_t c) const { return Before(m, c) * (silu() ? Sigmoid(m, c) : 1); }
  double Slope(int64_t m, int64_t c) const {
    const double s = Sigmoid(m, c);
    return silu() ? s * (1 + Before(m, c) * (1 - s)) : 1;
  }
};

NormGradient RandomGradient(RandomFloats& floats, int64_t rows, int64_t channels) {
  NormGradient gradient;
  gradient.inner = floats.Make(rows * channels);
  gradient.raw = floats.Make(rows * channels);
  for (const float** row : {&gradient.inner_scale, &gradient.input_scale, &gradient.mean, &gradient.shift}) {
    *row = floats.Make(channels);
  }
  return gradient;
}

double GradientAt(const NormGradient& of, int64_t m, int64_t c, int64_t channels) {
  const int64_t at = m * channels + c;
  return of.inner_scale[c] * static_cast<double>(of.inner[at]) +
         of.input_scale[c] * (static_cast<double>(of.raw[at]) - of.mean[c]) + of.shift[c];
}

std::vector<int64_t> SegmentBegins(int64_t height, int64_t width) {
  std::vector<int64_t> begins;
  for (int64_t i = 0; i <= kDepthwiseSegments; ++i) begins.push_back(height * i / kDepthwiseSegments * width);
  return begins;
}

// Moments as the kernels sum them up, of what they wrote.
std::vector<float> MomentSums(const std::vector<int64_t>& begins, int64_t channels,
                              const std::vector<float>& y) {
  const auto deviation = [&](int64_t m, int64_t c, int64_t first) {
    const auto at = [&](int64_t row) {
      return static_cast<double>(y[static_cast<size_t>(row * channels + c)]);
    };
    return at(m) - at(first);
  };
  return Sums(begins, channels, deviation, [&](int64_t m, int64_t c, int64_t first) {
    return deviation(m, c, first) * deviation(m, c, first);
  });
}

template <class Check>
void ForEachLinear(Check check) {
  for (int64_t rows : {1, 130, 1100}) {
    for (const auto& [in, out] : {std::pair{1, 1}, {16, 33}, {43, 20}}) {
      for (int kind : {0, 1, 2}) {  // no norm, a norm, a norm and SiLU
        RandomFloats floats;
        NormedMatrix x(floats, rows, in, kind == 2 ? Activation::kSilu : Activation::kNone);
        if (kind == 0) x.norm = {};
        check(floats, x, rows, in, out);
      }
    }
  }
}

TEST(training_layers, norm_linear) {
  ForEachLinear([](RandomFloats& floats, const NormedMatrix& x, int64_t rows, int64_t in, int64_t out) {
    const float* const weight = floats.Make(in * out);
    std::vector<float> expected;
    for (int64_t m = 0; m < rows; ++m) {
      for (int64_t o = 0; o < out; ++o) {
        double sum = 0;
        for (int64_t i = 0; i < in; ++i) sum += x.X(m, i) * weight[o * in + i];
        expected.push_back(static_cast<float>(sum));
      }
    }
    ForEachTable([&](const KernelTable& table, const TrainingKernels& kernels, int parts) {
      LinearShape shape;
      shape.in = in;
      shape.out = out;
      const AlignedBuffer packed = Pack(table.linear_packing, shape, {weight, nullptr});
      std::vector<float> output = Unwritten(rows * out);
      std::vector<double> sums(static_cast<size_t>(2 * ChannelSumChunks(rows) * out));
      NormLinearArgs args;
      args.rows = rows;
      args.in = in;
      args.out = out;
      args.input = x.raw;
      args.norm = x.norm;
      args.packed = packed.data();
      args.output = output.data();
      args.sums = sums.data();
      RunParts(kernels.norm_linear, args, parts);
      CheckClose(table, "norm_linear", output, expected, kTolerance);
      CheckClose(table, "moments", ToFloat(sums), MomentSums(ChunkBegins(rows), out, output), kTolerance);
    });
  });
}

TEST(training_layers, norm_linear_backward) {
  ForEachLinear([](RandomFloats& floats, const NormedMatrix& x, int64_t rows, int64_t in, int64_t out) {
    const float* const transposed = floats.Make(in * out);
    const float* const residual = floats.Make(rows * in);
    const NormGradient gradient = RandomGradient(floats, rows, out);
    std::vector<float> expected, weights(static_cast<size_t>(in * out));
    for (int64_t m = 0; m < rows; ++m) {
      for (int64_t i = 0; i < in; ++i) {
        double sum = residual[m * in + i];
        for (int64_t o = 0; o < out; ++o) sum += GradientAt(gradient, m, o, out) * transposed[i * out + o];
        expected.push_back(static_cast<float>(sum * x.Slope(m, i)));
      }
    }
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t i = 0; i < in; ++i) {
        double sum = 0;
        for (int64_t m = 0; m < rows; ++m) sum += GradientAt(gradient, m, o, out) * x.X(m, i);
        weights[static_cast<size_t>(o * in + i)] = static_cast<float>(sum);
      }
    }
    ForEachTable([&](const KernelTable& table, const TrainingKernels& kernels, int parts) {
      LinearShape shape;
      shape.in = out;
      shape.out = in;
      const AlignedBuffer packed = Pack(table.linear_packing, shape, {transposed, nullptr});
      NormLinearBackwardArgs args;
      args.rows = rows;
      args.in = in;
      args.out = out;
      args.gradient = gradient;
      args.input = x.raw;
      args.norm = x.norm;
      args.packed = packed.data();
      args.residual = residual;
      args.shares = ChannelSumChunks(rows);
      std::vector<float> output = Unwritten(rows * in), partial = Unwritten(args.shares * in * out);
      std::vector<double> sums(static_cast<size_t>(2 * ChannelSumChunks(rows) * in));
      args.output = output.data();
      args.weight_gradients = partial.data();
      args.sums = x.norm.scale ? sums.data() : nullptr;
      RunParts(kernels.norm_linear_backward, args, parts);
      CheckClose(table, "norm_linear_backward", output, expected, kTolerance);
      std::vector<float> totals(weights.size());
      for (size_t i = 0; i < partial.size(); ++i) totals[i % totals.size()] += partial[i];
      CheckClose(table, "weight gradients", totals, weights, kTolerance);
      if (!x.norm.scale) return;
      const auto inner = [&](int64_t m, int64_t c, int64_t) {
        return static_cast<double>(output[static_cast<size_t>(m * in + c)]);
      };
      CheckClose(table, "sums of gradients", ToFloat(sums),
                 Sums(ChunkBegins(rows), in, inner,
                      [&](int64_t m, int64_t c, int64_t) {
                        return inner(m, c, 0) * (x.Raw(m, c) - x.norm.mean[c]);
                      }),
                 kTolerance);
    });
  });
}

struct DepthwiseCase {
  RandomFloats floats;
  NormDepthwiseArgs args;
  int64_t out_height, out_width;
  NormedMatrix x;
  const float* weight;

  DepthwiseCase(int64_t height, int64_t width, int64_t channels, int64_t stride, Activation activation)
      : out_height((height - 1) / stride + 1),
        out_width((width - 1) / stride + 1),
        x(floats, height * width, channels, activation),
        weight(floats.Make(9 * channels)) {
    args.height = height;
    args.width = width;
    args.channels = channels;
    args.stride = stride;
    args.input = x.raw;
    args.norm = x.norm;
  }

  int64_t out_pixels() const { return out_height * out_width; }

  // visit(output pixel, input pixel, tap) for all that meet.
  template <class Visit>
  void ForEachMeeting(Visit visit) const {
    for (int64_t y = 0; y < out_height; ++y) {
      for (int64_t x = 0; x < out_width; ++x) {
        for (int64_t tap = 0; tap < 9; ++tap) {
          const int64_t in_y = args.stride * y + tap / 3 - 1, in_x = args.stride * x + tap % 3 - 1;
          if (in_y < 0 || in_y >= args.height || in_x < 0 || in_x >= args.width) continue;
          visit(y * out_width + x, in_y * args.width + in_x, tap);
        }
      }
    }
  }

  AlignedBuffer Packed(const KernelTable& table) const {
    return Pack(table.dwconv3x3_packing, {args.channels, args.stride, Activation::kNone}, {weight, nullptr});
  }
};

template <class Check>
void ForEachDepthwise(Check check) {
  for (const auto& [height, width] : {std::pair{1, 1}, {2, 1}, {5, 8}, {33, 18}, {64, 40}}) {
    for (int64_t channels : {5, 16, 37}) {
      for (int64_t stride : {1, 2}) {
        for (Activation activation : {Activation::kNone, Activation::kSilu}) {
          check(DepthwiseCase(height, width, channels, stride, activation));
        }
      }
    }
  }
}

TEST(training_layers, norm_depthwise) {
  ForEachDepthwise([](const DepthwiseCase& given) {
    const int64_t channels = given.args.channels;
    std::vector<double> expected(static_cast<size_t>(given.out_pixels() * channels));
    given.ForEachMeeting([&](int64_t out, int64_t in, int64_t tap) {
      for (int64_t c = 0; c < channels; ++c) {
        expected[static_cast<size_t>(out * channels + c)] +=
            given.x.X(in, c) * given.weight[tap * channels + c];
      }
    });
    ForEachTable([&](const KernelTable& table, const TrainingKernels& kernels, int parts) {
      const AlignedBuffer packed = given.Packed(table);
      std::vector<float> output = Unwritten(given.out_pixels() * channels);
      std::vector<double> sums(static_cast<size_t>(2 * kDepthwiseSegments * channels));
      NormDepthwiseArgs args = given.args;
      args.packed = packed.data();
      args.output = output.data();
      args.sums = sums.data();
      RunParts(kernels.norm_depthwise, args, parts);
      CheckClose(table, "norm_depthwise", output, ToFloat(expected), kTolerance);
      CheckClose(table, "moments", ToFloat(sums),
                 MomentSums(SegmentBegins(given.out_height, given.out_width), channels, output), kTolerance);
    });
  });
}

TEST(training_layers, norm_depthwise_backward) {
  ForEachDepthwise([](const DepthwiseCase& given) {
    const int64_t channels = given.args.channels, pixels = given.args.height * given.args.width;
    RandomFloats floats;
    const NormGradient gradient = RandomGradient(floats, given.out_pixels(), channels);
    std::vector<double> expected(static_cast<size_t>(pixels * channels));
    std::vector<double> weights(static_cast<size_t>(9 * channels));
    given.ForEachMeeting([&](int64_t out, int64_t in, int64_t tap) {
      for (int64_t c = 0; c < channels; ++c) {
        const double of_output = GradientAt(gradient, out, c, channels);
        expected[static_cast<size_t>(in * channels + c)] +=
            of_output * given.weight[tap * channels + c] * given.x.Slope(in, c);
        weights[static_cast<size_t>(tap * channels + c)] += of_output * given.x.X(in, c);
      }
    });
    ForEachTable([&](const KernelTable& table, const TrainingKernels& kernels, int parts) {
      const AlignedBuffer packed = given.Packed(table);
      std::vector<float> output = Unwritten(pixels * channels);
      std::vector<float> partial = Unwritten(kDepthwiseSegments * 9 * channels);
      std::vector<double> sums(static_cast<size_t>(2 * kDepthwiseSegments * channels));
      NormDepthwiseBackwardArgs args;
      args.forward = given.args;
      args.forward.packed = packed.data();
      args.forward.output = output.data();
      args.forward.sums = sums.data();
      args.gradient = gradient;
      args.weight_gradients = partial.data();
      RunParts(kernels.norm_depthwise_backward, args, parts);
      CheckClose(table, "norm_depthwise_backward", output, ToFloat(expected), kTolerance);
      std::vector<float> totals(weights.size());
      for (size_t i = 0; i < partial.size(); ++i) totals[i % totals.size()] += partial[i];
      CheckClose(table, "weight gradients", totals, ToFloat(weights), kTolerance);
      const auto inner = [&](int64_t m, int64_t c, int64_t) {
        return static_cast<double>(output[static_cast<size_t>(m * channels + c)]);
      };
      CheckClose(table, "sums of gradients", ToFloat(sums),
                 Sums(SegmentBegins(given.args.height, given.args.width), channels, inner,
                      [&](int64_t m, int64_t c, int64_t) {
                        return inner(m, c, 0) * (given.x.Raw(m, c) - given.x.norm.mean[c]);
                      }),
                 kTolerance);
    });
  });
}

}  // namespace
}  // namespace mvf

// Gradients of a dense 3x3 convolution's weight and of layer norm, of every table, against plain loops in
// double.
#include <cmath>
#include <vector>

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

TEST(training_gradients, conv3x3_weight_gradient) {
  for (const auto& [height, width] : {std::pair{1, 1}, {2, 1}, {5, 8}, {33, 18}}) {
    for (const auto& [in, out] : {std::pair{1, 1}, {3, 16}, {20, 33}}) {
      for (int64_t stride : {1, 2}) {
        RandomFloats floats;
        Conv3x3WeightGradientArgs args;
        args.images = 2;
        args.height = height;
        args.width = width;
        args.in = in;
        args.out = out;
        args.stride = stride;
        const int64_t rows = (height - 1) / stride + 1, columns = (width - 1) / stride + 1;
        args.input = floats.Make(2 * height * width * in);
        args.upstream = floats.Make(2 * rows * columns * out);
        std::vector<double> expected(static_cast<size_t>(out * 9 * in));
        for (int64_t pixel = 0; pixel < 2 * rows * columns; ++pixel) {
          const int64_t image = pixel / (rows * columns), y = pixel / columns % rows, x = pixel % columns;
          for (int64_t tap = 0; tap < 9; ++tap) {
            const int64_t in_y = stride * y + tap / 3 - 1, in_x = stride * x + tap % 3 - 1;
            if (in_y < 0 || in_y >= height || in_x < 0 || in_x >= width) continue;
            const float* const from = args.input + ((image * height + in_y) * width + in_x) * in;
            for (int64_t o = 0; o < out; ++o) {
              for (int64_t c = 0; c < in; ++c) {
                expected[static_cast<size_t>((o * 9 + tap) * in + c)] +=
                    static_cast<double>(args.upstream[pixel * out + o]) * from[c];
              }
            }
          }
        }
        ForEachTable([&](const KernelTable& table, const TrainingKernels& kernels, int parts) {
          std::vector<float> gradient = Unwritten(out * 9 * in);
          args.gradient = gradient.data();
          RunParts(kernels.conv3x3_weight_gradient, args, parts);
          CheckClose(table, "conv3x3_weight_gradient", gradient, ToFloat(expected), kTolerance);
        });
      }
    }
  }
}

TEST(training_gradients, layer_norm_backward) {
  for (int64_t rows : {1, 33, 1100}) {
    for (int64_t channels : {1, 16, 43}) {
      RandomFloats floats;
      LayerNormBackwardArgs args;
      args.rows = rows;
      args.channels = channels;
      args.input_stride = channels + 3;
      args.upstream_stride = channels + 1;
      args.output_stride = channels;
      args.input = floats.Make(rows * args.input_stride);
      args.upstream = floats.Make(rows * args.upstream_stride);
      args.gamma = floats.Make(channels);
      std::vector<float> expected;
      std::vector<double> normalised;
      for (int64_t m = 0; m < rows; ++m) {
        const float* const row = args.input + m * args.input_stride;
        const float* const upstream = args.upstream + m * args.upstream_stride;
        const double count = static_cast<double>(channels);
        double mean = 0, variance = 0, total = 0, product = 0;
        for (int64_t c = 0; c < channels; ++c) mean += row[c] / count;
        for (int64_t c = 0; c < channels; ++c) variance += (row[c] - mean) * (row[c] - mean) / count;
        const double precision = 1 / std::sqrt(variance + args.epsilon);
        for (int64_t c = 0; c < channels; ++c) {
          const double x = (row[c] - mean) * precision, g = static_cast<double>(upstream[c]) * args.gamma[c];
          normalised.push_back(x);
          total += g / count;
          product += g * x / count;
        }
        for (int64_t c = 0; c < channels; ++c) {
          const double x = (row[c] - mean) * precision, g = static_cast<double>(upstream[c]) * args.gamma[c];
          expected.push_back(static_cast<float>((g - total - x * product) * precision));
        }
      }
      const auto behind = [&](int64_t m, int64_t c, int64_t) {
        return static_cast<double>(args.upstream[m * args.upstream_stride + c]);
      };
      const std::vector<float> expected_sums = Sums(
          ChunkBegins(rows), channels,
          [&](int64_t m, int64_t c, int64_t) {
            return behind(m, c, 0) * normalised[static_cast<size_t>(m * channels + c)];
          },
          behind);
      ForEachTable([&](const KernelTable& table, const TrainingKernels& kernels, int parts) {
        std::vector<float> output = Unwritten(rows * channels);
        std::vector<double> sums(expected_sums.size());
        args.output = output.data();
        args.sums = sums.data();
        RunParts(kernels.layer_norm_backward, args, parts);
        // One channel's gradient is the difference of two equal products, whose rounding 1 / sqrt(epsilon)
        // magnifies where the compiler joined one with the difference.
        CheckClose(table, "layer_norm_backward", output, expected, kTolerance, 1.0);
        CheckClose(table, "sums of gradients", ToFloat(sums), expected_sums, kTolerance);
      });
    }
  }
}

}  // namespace
}  // namespace mvf

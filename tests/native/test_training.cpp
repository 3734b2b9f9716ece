// Training kernels of every table against plain loops in double.
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "engine/training_work.h"
#include "exact_run.h"
#include "kernels/dispatch.h"
#include "plain_attention.h"
#include "sample_plan.h"

namespace mvf {
namespace {

using mvf_test::CheckClose;
using mvf_test::RandomFloats;
using mvf_test::RunParts;

constexpr double kTolerance = 2e-5;

// check(table, kernels, parts) for every table, whole and in parts.
template <class Check>
void ForEachTable(Check check) {
  for (const KernelTable* table : RunnableTables()) {
    CHECK(table->training != nullptr);
    for (int parts : {1, 3}) check(*table, *table->training, parts);
  }
}

std::vector<float> Unwritten(int64_t count) {
  return std::vector<float>(static_cast<size_t>(count), std::numeric_limits<float>::quiet_NaN());
}

Map InputMap(RandomFloats& floats, int64_t height, int64_t width, int64_t channels) {
  return DenseMap(const_cast<float*>(floats.Make(height * width * channels)), height, width, channels);
}

TEST(training, attention_backward) {
  RandomFloats floats;
  for (const auto& [rows, columns] : {std::pair{1, 1}, {2, 3}, {4, 4}, {3, 7}, {5, 10}}) {
    for (const auto& [heads, width] : {std::pair{1, 1}, {4, 16}, {2, 36}, {3, 5}}) {
      AttentionBackwardArgs args;
      args.heads = heads;
      args.patch_width = 3;
      args.qkv = InputMap(floats, 2 * rows, 3 * columns, 3 * heads * width);
      args.upstream = InputMap(floats, 2 * rows, 3 * columns, heads * width);
      const auto gradient = [&](auto&& run) {
        std::vector<float> output = Unwritten(args.qkv.height * args.qkv.width * args.qkv.channels);
        args.gradient = DenseMap(output.data(), args.qkv.height, args.qkv.width, args.qkv.channels);
        run();
        return output;
      };
      const std::vector<float> expected = gradient([&] {
        mvf_test::PlainAttentionBackward(args, {0, WorkOf(args).units}, nullptr);
      });
      ForEachTable([&](const KernelTable& table, const TrainingKernels& kernels, int parts) {
        CheckClose(table, "attention_backward " + std::to_string(rows) + "x" + std::to_string(columns),
                   gradient([&] { RunParts(kernels.attention_backward, args, parts); }), expected,
                   kTolerance);
      });
    }
  }
}

TEST(training, weight_gradient) {
  RandomFloats floats;
  for (int64_t rows : {1, 17, 900}) {
    for (const auto& [in, out] : {std::pair{1, 1}, {16, 33}, {83, 5}, {144, 40}}) {
      WeightGradientArgs args;
      args.rows = rows;
      args.in = in;
      args.out = out;
      args.input_stride = in + 3;
      args.upstream_stride = out + 1;
      args.input = floats.Make(rows * args.input_stride);
      args.upstream = floats.Make(rows * args.upstream_stride);
      args.gradient_stride = in;
      std::vector<float> expected;
      for (int64_t o = 0; o < out; ++o) {
        for (int64_t i = 0; i < in; ++i) {
          double sum = 0;
          for (int64_t m = 0; m < rows; ++m) {
            sum += static_cast<double>(args.upstream[m * args.upstream_stride + o]) *
                   args.input[m * args.input_stride + i];
          }
          expected.push_back(static_cast<float>(sum));
        }
      }
      ForEachTable([&](const KernelTable& table, const TrainingKernels& kernels, int parts) {
        std::vector<float> gradient = Unwritten(in * out);
        args.gradient = gradient.data();
        RunParts(kernels.weight_gradient, args, parts);
        CheckClose(table, "weight_gradient", gradient, expected, kTolerance);
      });
    }
  }
}

// A batch norm's rows and what it knows of its channels.
struct NormCase {
  RandomFloats floats;
  NormalizeBackwardArgs args;

  NormCase(int64_t rows, int64_t channels, Activation activation) {
    NormalizeArgs& forward = args.forward;
    forward.rows = rows;
    forward.channels = channels;
    forward.input_stride = args.upstream_stride = channels + 5;
    forward.output_stride = channels;
    forward.input = floats.Make(rows * forward.input_stride);
    args.upstream = floats.Make(rows * args.upstream_stride);
    forward.activation = activation;
    for (const float** row :
         {&forward.scale, &forward.offset, &args.mean, &args.inner_scale, &args.input_scale, &args.shift}) {
      *row = floats.Make(channels);
    }
  }

  int64_t size() const { return args.forward.rows * args.forward.channels; }
  double X(int64_t m, int64_t c) const { return args.forward.input[m * args.forward.input_stride + c]; }
  double Normalized(int64_t m, int64_t c) const {
    return X(m, c) * args.forward.scale[c] + args.forward.offset[c];
  }
  double Inner(int64_t m, int64_t c) const {
    const double upstream = args.upstream[m * args.upstream_stride + c], x = Normalized(m, c);
    if (args.forward.activation == Activation::kNone) return upstream;
    const double sigmoid = 1 / (1 + std::exp(-x));
    return upstream * sigmoid * (1 + x * (1 - sigmoid));
  }

  // value(row, channel) for all of them.
  template <class Value>
  std::vector<float> All(Value value) const {
    std::vector<float> all;
    for (int64_t m = 0; m < args.forward.rows; ++m) {
      for (int64_t c = 0; c < args.forward.channels; ++c) all.push_back(static_cast<float>(value(m, c)));
    }
    return all;
  }

  // The sums of first(row, channel) and second(row, channel) over each chunk.
  template <class First, class Second>
  std::vector<float> Sums(First first, Second second) const {
    const int64_t channels = args.forward.channels;
    std::vector<double> sums(static_cast<size_t>(2 * ChannelSumChunks(args.forward.rows) * channels));
    for (int64_t m = 0; m < args.forward.rows; ++m) {
      double* const chunk = sums.data() + 2 * (m / kChannelSumRows) * channels;
      for (int64_t c = 0; c < channels; ++c) {
        chunk[c] += first(m, c);
        chunk[channels + c] += second(m, c);
      }
    }
    return {sums.begin(), sums.end()};
  }
};

template <class Check>
void ForEachNormCase(Check check) {
  for (int64_t rows : {1, 33, 1100}) {
    for (int64_t channels : {1, 16, 43}) {
      for (Activation activation : {Activation::kNone, Activation::kSilu}) {
        NormCase norm(rows, channels, activation);
        check(norm);
      }
    }
  }
}

std::vector<float> ToFloat(const std::vector<double>& values) { return {values.begin(), values.end()}; }

TEST(training, channel_moments) {
  ForEachNormCase([](NormCase& norm) {
    const NormalizeArgs& forward = norm.args.forward;
    const auto deviation = [&](int64_t m, int64_t c) { return norm.X(m, c) - norm.args.mean[c]; };
    const std::vector<float> expected =
        norm.Sums(deviation, [&](int64_t m, int64_t c) { return deviation(m, c) * deviation(m, c); });
    ForEachTable([&](const KernelTable& table, const TrainingKernels& kernels, int parts) {
      std::vector<double> sums(expected.size());
      ChannelMomentsArgs args;
      args.rows = forward.rows;
      args.channels = forward.channels;
      args.input = forward.input;
      args.input_stride = forward.input_stride;
      args.shift = norm.args.mean;
      args.sums = sums.data();
      RunParts(kernels.channel_moments, args, parts);
      CheckClose(table, "channel_moments", ToFloat(sums), expected, kTolerance);
    });
  });
}

TEST(training, normalize) {
  ForEachNormCase([](NormCase& norm) {
    NormalizeArgs args = norm.args.forward;
    const std::vector<float> expected = norm.All([&](int64_t m, int64_t c) {
      const double x = norm.Normalized(m, c);
      return args.activation == Activation::kSilu ? x / (1 + std::exp(-x)) : x;
    });
    ForEachTable([&](const KernelTable& table, const TrainingKernels& kernels, int parts) {
      std::vector<float> output = Unwritten(norm.size());
      args.output = output.data();
      RunParts(kernels.normalize, args, parts);
      CheckClose(table, "normalize", output, expected, kTolerance);
    });
  });
}

TEST(training, normalize_backward) {
  ForEachNormCase([](NormCase& norm) {
    NormalizeBackwardArgs args = norm.args;
    const auto inner = [&](int64_t m, int64_t c) { return norm.Inner(m, c); };
    const auto deviation = [&](int64_t m, int64_t c) { return norm.X(m, c) - args.mean[c]; };
    const std::vector<float> inners = norm.All(inner);
    const std::vector<float> expected_sums =
        norm.Sums(inner, [&](int64_t m, int64_t c) { return inner(m, c) * deviation(m, c); });
    const std::vector<float> expected = norm.All([&](int64_t m, int64_t c) {
      return args.inner_scale[c] * inner(m, c) + args.input_scale[c] * deviation(m, c) + args.shift[c];
    });
    ForEachTable([&](const KernelTable& table, const TrainingKernels& kernels, int parts) {
      std::vector<float> output = Unwritten(norm.size());
      std::vector<double> sums(expected_sums.size());
      args.forward.output = output.data();
      args.sums = sums.data();
      RunParts(kernels.normalize_backward_sums, args, parts);
      CheckClose(table, "inner gradients", output, inners, kTolerance);
      CheckClose(table, "sums of gradients", ToFloat(sums), expected_sums, kTolerance);
      RunParts(kernels.normalize_backward, args, parts);
      CheckClose(table, "normalize_backward", output, expected, kTolerance);
    });
  });
}

}  // namespace
}  // namespace mvf

// Every table against the plain loops, in buffers of exactly the sizes that the contract names: under
// AddressSanitizer a kernel that reaches one element too far is found.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "engine/bind.h"
#include "exact_run.h"
#include "kernels/dispatch.h"
#include "plain_table.h"
#include "sample_plan.h"
#include "short_tables.h"

namespace mvf {
namespace {

using mvf_test::CheckClose;
using mvf_test::ExactBuffer;
using mvf_test::LargestOf;
using mvf_test::MagnitudeOf;
using mvf_test::PlainTable;
using mvf_test::RandomFloats;
using mvf_test::RunParts;
using mvf_test::TablesOfFloats;
using mvf_test::ToleranceOf;

template <class Shape, class Weights, class Args>
void RunPacked(const Packing<Shape, Weights>& packing, const Kernel<Args>& kernel, Args args,
               const Weights& weights, int parts) {
  const ExactBuffer packed(packing.packed_bytes(args.shape));
  packing.pack(args.shape, weights, packed.data());
  args.packed = packed.data();
  RunParts(kernel, args, parts);
}

// Calls run(table, output) for the plain table and then for every other, whole and in parts, and compares the
// outputs.
template <class Run>
void CompareTables(const std::string& what, int64_t elements, double tolerance, Run&& run) {
  const auto fill =
      std::vector<float>(static_cast<size_t>(elements), std::numeric_limits<float>::quiet_NaN());
  std::vector<float> expected = fill;
  run(PlainTable(), expected.data(), 1);
  for (const KernelTable* table : TablesOfFloats()) {
    for (int parts : {1, 3}) {
      std::vector<float> actual = fill;
      run(*table, actual.data(), parts);
      CheckClose(*table, what, actual, expected, ToleranceOf(*table, tolerance), MagnitudeOf(*table));
    }
  }
}

std::string Text(std::initializer_list<int64_t> numbers) {
  std::string text;
  for (int64_t number : numbers) text += " " + std::to_string(number);
  return text;
}

constexpr double kTolerance = 2e-5;
constexpr double kWinogradTolerance = 1e-4;

TEST(tables, linear) {
  RandomFloats floats;
  for (int64_t rows : {1, 7, 25, 52}) {
    for (int64_t in : {1, 3, 16, 30, 61, 1031, 1100}) {
      if (in > 1000 && rows < 52) continue;
      for (int64_t out : {1, 5, 16, 24, 33, 67}) {
        for (int variant = 0; variant < 4; ++variant) {
          LinearArgs args;
          args.shape = {in, out, variant % 2 ? Activation::kSilu : Activation::kNone, variant >= 2};
          args.rows = rows;
          args.input = floats.Make(rows * in);
          args.input_stride = in;
          args.output_stride = out;
          args.float_output = rows != 7;
          if (variant % 2) args.residual = floats.Make(rows * out);
          args.residual_stride = out;
          LinearWeights weights = floats.Linear(out, in);
          if (variant == 0) weights.bias = nullptr;
          CompareTables("linear" + Text({rows, in, out, variant}), rows * out, kTolerance,
                        [&](const KernelTable& table, float* output, int parts) {
                          args.output = output;
                          RunPacked(table.linear_packing, table.linear, args, weights, parts);
                        });
        }
      }
    }
  }
}

// Logits then are no numbers: an overflow does not go unseen.
TEST(tables, halves_beyond_their_range_are_infinite) {
  constexpr int64_t kColumns = 21;
  const std::vector<float> weight(kColumns, 300.0f);
  for (const KernelTable* table : TablesOfFloats()) {
    float input = 300.0f;
    std::vector<float> output(kColumns);
    LinearArgs args;
    args.shape = {1, kColumns, Activation::kNone, false};
    args.rows = 1;
    args.input = &input;
    args.input_stride = 1;
    args.output = output.data();
    args.output_stride = kColumns;
    RunPacked(table->linear_packing, table->linear, args, LinearWeights{weight.data(), nullptr}, 1);
    for (float sum : output) {
      if (LargestOf(*table) < 90000.0) {
        CHECK(std::isinf(sum));
      } else {
        CHECK(std::fabs(sum - 90000.0f) <= ToleranceOf(*table, 0.0) * 90000.0f);
      }
    }
  }
}

TEST(tables, ffn) {
  RandomFloats floats;
  for (int64_t rows : {1, 13}) {
    for (const auto& [dim, hidden] : {std::pair{1, 2}, {12, 20}, {30, 61}, {64, 128}}) {
      FfnArgs args;
      args.shape = {dim, hidden};
      args.rows = rows;
      args.stream_stride = dim;
      const float* stream = floats.Make(rows * dim);
      const FfnWeights weights{floats.Linear(hidden, dim), floats.Linear(dim, hidden)};
      CompareTables("ffn" + Text({rows, dim, hidden}), rows * dim, kTolerance,
                    [&](const KernelTable& table, float* output, int parts) {
                      args.stream =
                          std::copy_n(stream, rows * args.shape.dim, output) - rows * args.shape.dim;
                      RunPacked(table.ffn_packing, table.ffn, args, weights, parts);
                    });
    }
  }
}

Map InputMap(RandomFloats& floats, int64_t height, int64_t width, int64_t channels) {
  return DenseMap(const_cast<float*>(floats.Make(height * width * channels)), height, width, channels);
}

int64_t Strided(int64_t size, int64_t stride) { return (size - 1) / stride + 1; }

struct MapSize {
  int64_t height, width;
};
constexpr MapSize kMapSizes[] = {{1, 1}, {1, 9}, {5, 2}, {7, 7}, {13, 10}};

TEST(tables, conv3x3) {
  RandomFloats floats;
  for (const MapSize& size : kMapSizes) {
    for (int64_t in : {1, 3, 16, 21}) {
      for (int64_t second : {0, 5}) {
        for (int64_t out : {1, 16, 37}) {
          for (int variant = 0; variant < 4; ++variant) {
            Conv3x3Args args;
            args.shape = {in, second, out, variant == 1 ? 2 : 1,
                          variant % 2 ? Activation::kSilu : Activation::kNone};
            if (variant == 2) args.shape.algorithm = ConvAlgorithm::kWinograd2;
            if (variant == 3) args.shape.algorithm = ConvAlgorithm::kWinograd4;
            args.input = InputMap(floats, size.height, size.width, in);
            if (second) args.second = InputMap(floats, size.height, size.width, second);
            const int64_t height = Strided(size.height, args.shape.stride),
                          width = Strided(size.width, args.shape.stride);
            const Conv3x3Weights weights{floats.Make(out * 9 * (in + second)), floats.Make(out)};
            CompareTables("conv3x3" + Text({size.height, size.width, in, second, out, variant}),
                          height * width * out, variant >= 2 ? kWinogradTolerance : kTolerance,
                          [&](const KernelTable& table, float* output, int parts) {
                            args.output = DenseMap(output, height, width, args.shape.out);
                            RunPacked(table.conv3x3_packing, table.conv3x3, args, weights, parts);
                          });
          }
        }
      }
    }
  }
}

TEST(tables, stem) {
  RandomFloats floats;
  for (const MapSize& size : kMapSizes) {
    for (int64_t in : {1, 3, 4}) {
      for (int64_t out : {8, 16, 19}) {
        for (int64_t stride : {1, 2}) {
          StemArgs args;
          args.shape = {in, 0, out, stride, Activation::kSilu};
          args.input = {floats.Make(in * size.height * size.width),
                        in,
                        size.height,
                        size.width,
                        size.height * size.width,
                        size.width,
                        1};
          const int64_t height = Strided(size.height, stride), width = Strided(size.width, stride);
          const Conv3x3Weights weights{floats.Make(out * 9 * in), floats.Make(out)};
          CompareTables("stem" + Text({size.height, size.width, in, out, stride}), height * width * out,
                        kTolerance, [&](const KernelTable& table, float* output, int parts) {
                          args.output = DenseMap(output, height, width, args.shape.out);
                          RunPacked(table.stem_packing, table.stem, args, weights, parts);
                        });
        }
      }
    }
  }
}

TEST(tables, dwconv3x3) {
  RandomFloats floats;
  for (const MapSize& size : kMapSizes) {
    for (int64_t channels : {1, 8, 24, 45}) {
      for (int64_t stride : {1, 2}) {
        DwConv3x3Args args;
        args.shape = {channels, stride, stride == 1 ? Activation::kSilu : Activation::kNone};
        args.input = InputMap(floats, size.height, size.width, channels);
        const int64_t height = Strided(size.height, stride), width = Strided(size.width, stride);
        const DwConv3x3Weights weights{floats.Make(9 * channels),
                                       stride == 1 ? floats.Make(channels) : nullptr};
        CompareTables("dwconv3x3" + Text({size.height, size.width, channels, stride}),
                      height * width * channels, kTolerance,
                      [&](const KernelTable& table, float* output, int parts) {
                        args.output = DenseMap(output, height, width, args.shape.channels);
                        RunPacked(table.dwconv3x3_packing, table.dwconv3x3, args, weights, parts);
                      });
      }
    }
  }
}

TEST(tables, inverted_residual) {
  RandomFloats floats;
  for (const MapSize& size : kMapSizes) {
    for (const auto& [in, expanded] : {std::pair{1, 3}, {16, 32}, {21, 50}, {48, 96}}) {
      for (int variant = 0; variant < 3; ++variant) {
        InvertedResidualArgs args;
        args.shape = {in, expanded, variant == 2 ? in : in + 5, variant == 1 ? 2 : 1, variant == 2};
        args.input = InputMap(floats, size.height, size.width, in);
        const int64_t height = Strided(size.height, args.shape.stride),
                      width = Strided(size.width, args.shape.stride);
        const InvertedResidualWeights weights{floats.Linear(expanded, in),
                                              {floats.Make(9 * expanded), floats.Make(expanded)},
                                              floats.Linear(args.shape.out, expanded)};
        CompareTables("inverted_residual" + Text({size.height, size.width, in, expanded, variant}),
                      height * width * args.shape.out, kTolerance,
                      [&](const KernelTable& table, float* output, int parts) {
                        args.output = DenseMap(output, height, width, args.shape.out);
                        RunPacked(table.inverted_residual_packing, table.inverted_residual, args, weights,
                                  parts);
                      });
      }
    }
  }
}

TEST(tables, attention) {
  RandomFloats floats;
  for (const auto& [rows, columns] : {std::pair{1, 1}, {2, 3}, {4, 4}, {3, 7}, {9, 11}}) {
    for (const auto& [heads, width] : {std::pair{1, 1}, {4, 16}, {4, 30}, {3, 5}}) {
      AttentionArgs args;
      args.heads = heads;
      args.patch_width = 3;
      args.qkv = InputMap(floats, 2 * rows, 3 * columns, 3 * heads * width);
      const int64_t dim = args.heads * width;
      CompareTables("attention" + Text({rows, columns, heads, width}), args.qkv.height * args.qkv.width * dim,
                    kTolerance, [&](const KernelTable& table, float* output, int parts) {
                      args.output = DenseMap(output, args.qkv.height, args.qkv.width, dim);
                      RunParts(table.attention, args, parts);
                    });
    }
  }
}

// Keys that are all alike weigh the same, however large their scores: a rounding of those must not become a
// power of two.
TEST(tables, attention_of_large_scores) {
  constexpr int kTokens = 5, kDim = 16;
  RandomFloats floats;
  const float* const random = floats.Make(3 * kTokens * kDim);
  for (float largest : {1e4f, 1e6f, 1e8f}) {
    CompareTables("attention of scores up to the square of " + std::to_string(largest), kTokens * kDim,
                  kTolerance, [&](const KernelTable& table, float* output, int parts) {
                    // So that sums of squares stay within the range of the table's elements.
                    const float scale =
                        std::min(largest, std::sqrt(static_cast<float>(LargestOf(table))) / 5);
                    std::vector<float> qkv(random, random + 3 * kTokens * kDim);
                    for (int t = 0; t < kTokens; ++t) {
                      for (int c = 0; c < kDim; ++c) {
                        qkv[3 * kDim * t + c] *= scale;
                        qkv[3 * kDim * t + kDim + c] = random[kDim + c] * scale;
                      }
                    }
                    AttentionArgs args;
                    args.heads = args.patch_height = args.patch_width = 1;
                    args.qkv = DenseMap(qkv.data(), 1, kTokens, 3 * kDim);
                    args.output = DenseMap(output, 1, kTokens, kDim);
                    RunParts(table.attention, args, parts);
                  });
  }
}

TEST(tables, layer_norm) {
  RandomFloats floats;
  for (int64_t rows : {1, 9}) {
    for (int64_t channels : {1, 15, 64, 83}) {
      LayerNormArgs args;
      args.rows = rows;
      args.channels = channels;
      args.input = floats.Make(rows * channels);
      args.input_stride = args.output_stride = channels;
      args.gamma = floats.Make(channels);
      args.beta = floats.Make(channels);
      CompareTables("layer_norm" + Text({rows, channels}), rows * channels, kTolerance,
                    [&](const KernelTable& table, float* output, int parts) {
                      args.output = output;
                      RunParts(table.layer_norm, args, parts);
                    });
    }
  }
}

TEST(tables, resize) {
  RandomFloats floats;
  for (const MapSize& from : kMapSizes) {
    for (const MapSize& to : kMapSizes) {
      for (int64_t channels : {1, 16, 29}) {
        ResizeArgs args;
        args.input = InputMap(floats, from.height, from.width, channels);
        CompareTables("resize" + Text({from.height, from.width, to.height, to.width, channels}),
                      to.height * to.width * channels, kTolerance,
                      [&](const KernelTable& table, float* output, int parts) {
                        args.output = DenseMap(output, to.height, to.width, args.input.channels);
                        RunParts(table.resize, args, parts);
                      });
      }
    }
  }
}

TEST(tables, global_pool) {
  RandomFloats floats;
  for (const MapSize& size : kMapSizes) {
    for (int64_t channels : {1, 16, 45}) {
      GlobalPoolArgs args;
      args.input = InputMap(floats, size.height, size.width, channels);
      args.float_output = true;
      CompareTables("global_pool" + Text({size.height, size.width, channels}), channels, kTolerance,
                    [&](const KernelTable& table, float* output, int parts) {
                      args.output = output;
                      RunParts(table.global_pool, args, parts);
                    });
    }
  }
}

TEST(tables, softmax) {
  RandomFloats floats;
  for (int64_t rows : {1, 9}) {
    for (int64_t columns : {1, 10, 37, 1000}) {
      SoftmaxArgs args;
      args.rows = rows;
      args.columns = columns;
      args.input = floats.Make(rows * columns);
      args.input_stride = args.output_stride = columns;
      CompareTables("softmax" + Text({rows, columns}), rows * columns, kTolerance,
                    [&](const KernelTable& table, float* output, int parts) {
                      args.output = output;
                      RunParts(table.softmax, args, parts);
                    });
    }
  }
}

}  // namespace
}  // namespace mvf

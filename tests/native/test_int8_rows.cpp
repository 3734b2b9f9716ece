// The 8-bit kernels that work on rows, on every table, against plain loops: sums and bytes must be equal.
#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "plain_int8.h"

namespace mvf {
namespace {

using namespace mvf_test;

// A linear layer over rows of bytes with its weights, and what it should give.
struct LinearCase {
  LinearCase(Random& random, int64_t rows, int64_t in, int64_t out, Draw draw, bool with_table)
      : rows(rows),
        input(random.MakeBytes(rows * in, draw)),
        weight(random.MakeWeights(out * in, draw)),
        bias(random.MakeInts(out, -3000, 3000)),
        requantization(random, out, in, with_table) {
    args.shape.in = in;
    args.shape.out = out;
    args.shape.input_zero = draw == Draw::kRandom ? 119 : 0;
    args.rows = rows;
    args.input = input.data();
    args.input_stride = in;
    args.output_stride = out + 1;
  }

  Int8LinearWeights weights() const {
    return {{weight.data(), bias.data()}, requantization.Get(), Activation::kNone};
  }
  int32_t Sum(int64_t row, int64_t column) const {
    const int64_t in = args.shape.in;
    return static_cast<int32_t>(bias[static_cast<size_t>(column)] +
                                PlainDot(&input[static_cast<size_t>(row * in)],
                                         &weight[static_cast<size_t>(column * in)], in,
                                         args.shape.input_zero));
  }

  int64_t rows;
  Bytes input;
  Weights weight;
  std::vector<int32_t> bias;
  PlainRequantization requantization;
  Int8LinearArgs args;
};

// The sums, the bytes and the floats of one case.
void CheckLinear(LinearCase& c) {
  const int64_t out = c.args.shape.out;
  const int64_t end = (c.rows - 1) * c.args.output_stride + out;
  Random random;
  const std::vector<float> residual = random.MakeFloats(c.rows * out, -1, 1);
  ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
    Int8LinearArgs args = c.args;
    std::vector<int32_t> sums(static_cast<size_t>(c.rows * out));
    args.sums = sums.data();
    RunPacked(kernels.linear_packing, kernels.linear, args, c.weights(), c.rows, parts);
    args.sums = nullptr;
    Bytes bytes(static_cast<size_t>(end), 0xa5);
    args.output = bytes.data();
    RunPacked(kernels.linear_packing, kernels.linear, args, c.weights(), c.rows, parts);
    std::vector<float> floats(static_cast<size_t>(end), -7.0f);
    args.output = floats.data();
    args.residual = residual.data();
    args.residual_stride = out;
    args.shape.float_output = true;
    RunPacked(kernels.linear_packing, kernels.linear, args, c.weights(), c.rows, parts);
    for (int64_t m = 0; m < c.rows; ++m) {
      for (int64_t n = 0; n < out; ++n) {
        const size_t at = static_cast<size_t>(m * args.output_stride + n),
                     dense = static_cast<size_t>(m * out + n);
        const int32_t sum = c.Sum(m, n);
        CHECK_EQUAL(sums[dense], sum);
        CHECK_EQUAL(int{bytes[at]}, int{c.requantization.Apply(sum, n)});
        const float product =
            std::fma(static_cast<float>(sum), c.requantization.multiplier[static_cast<size_t>(n)],
                     c.requantization.offset[static_cast<size_t>(n)]);
        CHECK_EQUAL(floats[at], product + residual[dense]);
      }
      if (m + 1 < c.rows) CHECK_EQUAL(int{bytes[static_cast<size_t>(m * args.output_stride + out)]}, 0xa5);
    }
  });
}

TEST(int8_rows, linear_is_exact_at_every_size) {
  Random random;
  for (int64_t rows : {1, 3, 25}) {
    for (int64_t in : {1, 3, 4, 16, 30, 61}) {
      for (int64_t out : {1, 5, 16, 24, 33, 67}) {
        LinearCase c(random, rows, in, out, Draw::kRandom, in % 2 == 1);
        CheckLinear(c);
      }
    }
  }
}

TEST(int8_rows, linear_is_exact_at_its_extremes) {
  Random random;
  for (Draw draw : kDraws) {
    for (int64_t in : {64, 4099, 11520}) {
      LinearCase c(random, 9, in, 50, draw, false);
      CheckLinear(c);
    }
  }
}

TEST(int8_rows, linear_goes_through_many_blocks_of_rows_and_panels) {
  Random random;
  LinearCase c(random, 421, 20, 131, Draw::kRandom, true);
  CheckLinear(c);
}

TEST(int8_rows, linear_reads_rows_from_anywhere) {
  Random random;
  for (int64_t stride : {36, 37, 40}) {
    LinearCase c(random, 19, 36, 40, Draw::kRandom, false);
    Bytes spread(static_cast<size_t>(1 + 18 * stride + 36));
    for (int64_t m = 0; m < 19; ++m)
      std::copy_n(&c.input[static_cast<size_t>(36 * m)], 36, &spread[static_cast<size_t>(1 + stride * m)]);
    c.args.input = spread.data() + 1;
    c.args.input_stride = stride;
    CheckLinear(c);
  }
}

TEST(int8_rows, linear_without_bias_sums_the_products_alone) {
  Random random;
  LinearCase c(random, 5, 12, 7, Draw::kRandom, false);
  std::fill(c.bias.begin(), c.bias.end(), 0);
  ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
    std::vector<int32_t> sums(5 * 7);
    Int8LinearArgs args = c.args;
    args.sums = sums.data();
    Int8LinearWeights weights = c.weights();
    weights.weights.bias = nullptr;
    RunPacked(kernels.linear_packing, kernels.linear, args, weights, 5, parts);
    for (int64_t i = 0; i < 35; ++i) CHECK_EQUAL(sums[static_cast<size_t>(i)], c.Sum(i / 7, i % 7));
  });
}

TEST(int8_rows, linear_quantises_float_rows) {
  Random random;
  for (int64_t in : {3, 16, 45}) {
    LinearCase c(random, 23, in, 37, Draw::kRandom, false);
    const std::vector<float> values = random.MakeFloats(23 * in, -3.0f, 4.0f);
    c.args.shape.input = Int8Input::kStatic;
    c.args.shape.input_scale = 0.0217f;
    for (size_t i = 0; i < values.size(); ++i) {
      c.input[i] = PlainQuantize(values[i], c.args.shape.input_scale, c.args.shape.input_zero);
    }
    c.args.input = values.data();
    CheckLinear(c);
  }
}

struct RowScale {
  float scale;
  int32_t zero;
};

RowScale PlainRowScale(const float* row, int64_t count) {
  float low = 0.0f, high = 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    low = std::min(low, row[i]);
    high = std::max(high, row[i]);
  }
  const float scale = (high - low) / 255.0f;
  if (scale < std::numeric_limits<float>::min()) return {1.0f, 0};
  return {scale, static_cast<int32_t>(std::nearbyint(-low / scale))};
}

TEST(int8_rows, linear_quantises_each_row_by_its_own_range) {
  Random random;
  for (int64_t in : {1, 16, 45}) {
    constexpr int64_t kRows = 21, kOut = 37;
    LinearCase c(random, kRows, in, kOut, Draw::kRandom, false);
    std::vector<float> values = random.MakeFloats(kRows * in, -3.0f, 4.0f);
    std::fill_n(values.begin(), in, 0.0f);
    for (int64_t k = 0; k < in; ++k)
      values[static_cast<size_t>(in + k)] = std::fabs(values[static_cast<size_t>(in + k)]);
    c.args.shape.input = Int8Input::kDynamic;
    c.args.shape.float_output = true;
    c.args.input = values.data();
    ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
      Int8LinearArgs args = c.args;
      std::vector<float> floats(static_cast<size_t>(kRows * args.output_stride));
      std::vector<int32_t> sums(static_cast<size_t>(kRows * kOut));
      args.output = floats.data();
      RunPacked(kernels.linear_packing, kernels.linear, args, c.weights(), kRows, parts);
      args.sums = sums.data();
      RunPacked(kernels.linear_packing, kernels.linear, args, c.weights(), kRows, parts);
      for (int64_t m = 0; m < kRows; ++m) {
        const RowScale row = PlainRowScale(&values[static_cast<size_t>(m * in)], in);
        Bytes quantised;
        for (int64_t k = 0; k < in; ++k)
          quantised.push_back(PlainQuantize(values[static_cast<size_t>(m * in + k)], row.scale, row.zero));
        for (int64_t n = 0; n < kOut; ++n) {
          const size_t column = static_cast<size_t>(n);
          const int32_t sum = static_cast<int32_t>(
              c.bias[column] +
              PlainDot(quantised.data(), &c.weight[static_cast<size_t>(n * in)], in, row.zero));
          CHECK_EQUAL(sums[static_cast<size_t>(m * kOut + n)], sum);
          const float multiplier = c.requantization.multiplier[column] * row.scale;
          CHECK_EQUAL(floats[static_cast<size_t>(m * args.output_stride + n)],
                      std::fma(static_cast<float>(sum), multiplier, c.requantization.offset[column]));
        }
      }
    });
  }
}

// Rows whose normalised values are +1 and -1 (and 0, where they are odd in number), whatever the order of
// sums.
std::vector<float> BalancedRows(Random& random, int64_t rows, int64_t channels) {
  std::vector<float> values;
  for (int64_t m = 0; m < rows; ++m) {
    std::vector<float> row;
    for (int64_t c = 0; c < channels; ++c) row.push_back(c == channels / 2 * 2 ? 0.0f : c % 2 ? 2.0f : -2.0f);
    const std::vector<int32_t> swaps = random.MakeInts(channels, 0, static_cast<int32_t>(channels) - 1);
    for (int64_t c = 0; c < channels; ++c)
      std::swap(row[static_cast<size_t>(c)], row[static_cast<size_t>(swaps[static_cast<size_t>(c)])]);
    values.insert(values.end(), row.begin(), row.end());
  }
  return values;
}

double PlainNormal(const float* row, int64_t channels, int64_t channel) {
  double squares = 0;
  for (int64_t c = 0; c < channels; ++c) squares += double{row[c]} * row[c];
  return row[channel] / std::sqrt(squares / static_cast<double>(channels));
}

// The scale keeps the bytes of such rows far from halves.
constexpr float kNormalScale = 0.0131f;
uint8_t PlainNormalByte(const float* row, int64_t channels, int64_t channel, int32_t zero) {
  const double position = PlainNormal(row, channels, channel) / double{kNormalScale} + zero;
  return static_cast<uint8_t>(std::nearbyint(position));
}

TEST(int8_rows, linear_normalises_float_rows) {
  Random random;
  for (int64_t in : {8, 17, 45}) {
    LinearCase c(random, 23, in, 37, Draw::kRandom, false);
    const std::vector<float> values = BalancedRows(random, 23, in);
    c.args.shape.input = Int8Input::kStatic;
    c.args.shape.normalize = true;
    c.args.shape.epsilon = 0.0f;
    c.args.shape.input_scale = kNormalScale;
    for (int64_t i = 0; i < 23 * in; ++i) {
      c.input[static_cast<size_t>(i)] =
          PlainNormalByte(&values[static_cast<size_t>(i / in * in)], in, i % in, c.args.shape.input_zero);
    }
    c.args.input = values.data();
    CheckLinear(c);
  }
}

TEST(int8_rows, ffn_is_exact_where_its_normalised_rows_are) {
  Random random;
  for (int64_t dim : {4, 13, 48}) {
    constexpr int64_t kRows = 139, kHidden = 35;
    const LinearCase up(random, 1, dim, kHidden, Draw::kRandom, true),
        down(random, 1, kHidden, dim, Draw::kRandom, false);
    const std::vector<float> stream = BalancedRows(random, kRows, dim);
    Int8FfnArgs args;
    args.shape = {dim, kHidden, kNormalScale, 131, 45, 0.0f};
    args.rows = kRows;
    args.stream_stride = dim;
    const Int8FfnWeights weights = {up.weights().weights, up.requantization.Get(), down.weights().weights,
                                    down.requantization.multiplier.data()};
    ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
      std::vector<float> actual = stream;
      args.stream = actual.data();
      RunPacked(kernels.ffn_packing, kernels.ffn, args, weights, kRows, parts);
      for (int64_t m = 0; m < kRows; ++m) {
        const float* row = &stream[static_cast<size_t>(m * dim)];
        Bytes normal, hidden;
        for (int64_t c = 0; c < dim; ++c)
          normal.push_back(PlainNormalByte(row, dim, c, args.shape.input_zero));
        for (int64_t h = 0; h < kHidden; ++h) {
          const int64_t dot =
              PlainDot(normal.data(), &up.weight[static_cast<size_t>(h * dim)], dim, args.shape.input_zero);
          hidden.push_back(
              up.requantization.Apply(static_cast<int32_t>(up.bias[static_cast<size_t>(h)] + dot), h));
        }
        for (int64_t c = 0; c < dim; ++c) {
          const size_t column = static_cast<size_t>(c);
          const int64_t dot = PlainDot(hidden.data(), &down.weight[static_cast<size_t>(c * kHidden)], kHidden,
                                       args.shape.hidden_zero);
          const float added =
              static_cast<float>(down.bias[column] + dot) * down.requantization.multiplier[column];
          CHECK_EQUAL(actual[static_cast<size_t>(m * dim + c)], row[c] + added);
        }
      }
    });
  }
}

TEST(int8_rows, quantize_and_dequantize_are_exact) {
  Random random;
  constexpr float kInfinity = std::numeric_limits<float>::infinity(),
                  kNan = std::numeric_limits<float>::quiet_NaN();
  for (int64_t channels : {1, 7, 33, 64}) {
    constexpr int64_t kRows = 5;
    std::vector<float> values = random.MakeFloats(kRows * (channels + 2), -40.0f, 40.0f);
    const float special[] = {kInfinity, -kInfinity, kNan, -kNan, 1e30f, -1e30f, 0.125f, 0.375f, -0.125f};
    for (size_t i = 0; i < 9; ++i) values[3 * i % values.size()] = special[i];
    ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
      QuantizeArgs args = {kRows, channels, values.data(), channels + 2, nullptr, channels + 1, 0.25f, 121};
      Bytes bytes(static_cast<size_t>(kRows * (channels + 1)), 0xa5);
      args.bytes = bytes.data();
      RunUnits(kernels.quantize, args, kRows, parts);
      std::vector<float> back(values.size(), -7.0f);
      args.values = back.data();
      RunUnits(kernels.dequantize, args, kRows, parts);
      for (int64_t m = 0; m < kRows; ++m) {
        for (int64_t c = 0; c < channels; ++c) {
          const size_t value = static_cast<size_t>(m * (channels + 2) + c),
                       byte = static_cast<size_t>(m * (channels + 1) + c);
          CHECK_EQUAL(int{bytes[byte]}, int{PlainQuantize(values[value], 0.25f, 121)});
          CHECK_EQUAL(back[value], 0.25f * static_cast<float>(bytes[byte] - 121));
        }
        CHECK_EQUAL(int{bytes[static_cast<size_t>(m * (channels + 1) + channels)]}, 0xa5);
      }
    });
  }
}

TEST(int8_rows, layer_norm_quantises_what_it_normalised) {
  Random random;
  for (int64_t channels : {8, 17, 50}) {
    constexpr int64_t kRows = 9;
    const std::vector<float> values = BalancedRows(random, kRows, channels);
    const std::vector<float> gamma(static_cast<size_t>(channels), 2.0f),
        beta(static_cast<size_t>(channels), 0.5f);
    ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
      Bytes bytes(static_cast<size_t>(kRows * channels));
      const LayerNormArgs norm = {kRows,       channels,     values.data(), channels, gamma.data(),
                                  beta.data(), bytes.data(), channels,      0.0f};
      RunUnits(kernels.layer_norm, Int8LayerNormArgs{norm, 2 * kNormalScale, 90}, kRows, parts);
      for (int64_t i = 0; i < kRows * channels; ++i) {
        const float* row = &values[static_cast<size_t>(i / channels * channels)];
        const double value = 2.0 * PlainNormal(row, channels, i % channels) + 0.5;
        CHECK_EQUAL(int{bytes[static_cast<size_t>(i)]},
                    static_cast<int>(std::nearbyint(value / (2.0 * kNormalScale) + 90)));
      }
    });
  }
}

}  // namespace
}  // namespace mvf

// 8-bit attention, on every table, against plain loops: bytes must be equal, and near those of real
// exponentials.
#include <algorithm>
#include <cmath>
#include <string>

#include "check.h"
#include "plain_int8.h"

namespace mvf {
namespace {

using namespace mvf_test;

struct Sizes {
  int64_t height, width, heads, head_dim;
  int64_t patch_height = 2, patch_width = 2;
};

// Attention of one query: the bytes that the contract defines, and what real exponentials give.
struct PlainQuery {
  std::vector<int32_t> weights;
  std::vector<double> exponentials;
  int64_t weight_sum = 0;
  double exponential_sum = 0;

  PlainQuery(const std::vector<int64_t>& scores, float score_scale) {
    const int64_t largest = *std::max_element(scores.begin(), scores.end());
    const float steps = score_scale * 2954.63944f;  // of 1 / 2048 of an octave
    for (int64_t score : scores) {
      const float distance = std::nearbyint(static_cast<float>(largest - score) * steps);
      weights.push_back(Weight(distance < 32767.0f ? static_cast<int32_t>(distance) : 32767));
      exponentials.push_back(std::exp(static_cast<double>(score - largest) * double{score_scale}));
      weight_sum += weights.back();
      exponential_sum += exponentials.back();
    }
  }

  // 255 * 2^(-distance / 2048), rounded.
  static int32_t Weight(int32_t distance) {
    const int64_t fraction = distance % 2048 * 32;
    const int64_t missing = fraction * (22112 - fraction * 5780 / 65536) / 65536;
    const int64_t power = (32767 - missing) / (int64_t{1} << distance / 2048);
    return static_cast<int32_t>((power * 255 + 16384) / 32768);
  }
};

struct AttentionCase {
  AttentionCase(const Sizes& sizes, Bytes qkv, float score_scale, float output_multiplier = 0.9f,
                int32_t output_zero = 119)
      : sizes(sizes), qkv(std::move(qkv)) {
    args.heads = sizes.heads;
    args.patch_height = sizes.patch_height;
    args.patch_width = sizes.patch_width;
    args.score_scale = score_scale;
    args.output_multiplier = output_multiplier;
    args.output_zero = output_zero;
  }

  int64_t dim() const { return sizes.heads * sizes.head_dim; }
  int64_t units() const { return sizes.patch_height * sizes.patch_width * sizes.heads; }

  // part 0, 1, 2: q, k, v
  int32_t At(int64_t pixel, int part, int64_t channel) const {
    return qkv[static_cast<size_t>((3 * pixel + part) * dim() + channel)] - 128;
  }

  Bytes Expected() const {
    Bytes bytes;
    for (int64_t pixel = 0; pixel < sizes.height * sizes.width; ++pixel) {
      const std::vector<int64_t> others = PixelsLike(pixel);
      for (int64_t head = 0; head < sizes.heads; ++head) {
        const PlainQuery query(Scores(pixel, others, head), args.score_scale);
        for (int64_t c = 0; c < sizes.head_dim; ++c) {
          int64_t sum = 0;
          double real = 0;
          for (size_t u = 0; u < others.size(); ++u) {
            const int32_t value = At(others[u], 2, head * sizes.head_dim + c);
            sum += query.weights[u] * value;
            real += query.exponentials[u] * value;
          }
          const float scale = args.output_multiplier / static_cast<float>(query.weight_sum);
          const float output = std::fma(static_cast<float>(sum), scale, static_cast<float>(args.output_zero));
          bytes.push_back(static_cast<uint8_t>(std::nearbyint(std::min(std::max(output, 0.0f), 255.0f))));
          CheckNear(output, real / query.exponential_sum, query, others.size());
        }
      }
    }
    return bytes;
  }

  Sizes sizes;
  Bytes qkv;
  Int8AttentionArgs args;

 private:
  // All pixels of the same position in their patch.
  std::vector<int64_t> PixelsLike(int64_t pixel) const {
    std::vector<int64_t> pixels;
    for (int64_t y = pixel / sizes.width % sizes.patch_height; y < sizes.height; y += sizes.patch_height) {
      for (int64_t x = pixel % sizes.width % sizes.patch_width; x < sizes.width; x += sizes.patch_width) {
        pixels.push_back(y * sizes.width + x);
      }
    }
    return pixels;
  }

  std::vector<int64_t> Scores(int64_t pixel, const std::vector<int64_t>& others, int64_t head) const {
    std::vector<int64_t> scores;
    for (int64_t other : others) {
      int64_t score = 0;
      for (int64_t c = head * sizes.head_dim; c < (head + 1) * sizes.head_dim; ++c) {
        score += At(pixel, 0, c) * At(other, 1, c);
      }
      scores.push_back(score);
    }
    return scores;
  }

  // A weight is within 0.9 of that of its distance, which was rounded, and no value is farther from the mean
  // than 255.
  void CheckNear(float output, double mean, const PlainQuery& query, size_t tokens) const {
    const double weights = 0.95 * 255.0 * static_cast<double>(tokens) / static_cast<double>(query.weight_sum);
    const double bound = (weights + 1e-3) * double{args.output_multiplier} + 2e-5;
    const double real = mean * double{args.output_multiplier} + args.output_zero;
    CHECK(std::fabs(double{output} - real) <= bound);
  }
};

void CheckAttention(const AttentionCase& c) {
  const Bytes expected = c.Expected();
  const GappedBytes qkv(c.sizes.height, c.sizes.width, c.qkv, 3 * c.dim());
  ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
    const GappedBytes output(c.sizes.height, c.sizes.width, c.dim());
    Int8AttentionArgs args = c.args;
    args.qkv = qkv.map();
    args.output = output.map();
    RunUnits(kernels.attention, args, c.units(), parts);
    CHECK(output.Dense() == expected);
    CHECK(output.GapsAreWhole());
  });
}

Bytes RandomQkv(Random& random, const Sizes& sizes) {
  return random.MakeBytes(sizes.height * sizes.width * sizes.heads * sizes.head_dim * 3, Draw::kRandom);
}

// A scale at which random scores differ by an octave or so.
float TypicalScale(int64_t head_dim) { return 1.5f / (5476.0f * std::sqrt(static_cast<float>(head_dim))); }

void CheckRandom(Random& random, const Sizes& sizes) {
  CheckAttention(AttentionCase(sizes, RandomQkv(random, sizes), TypicalScale(sizes.head_dim)));
}

TEST(int8_attention, is_exact_at_every_head_dimension) {
  Random random;
  for (int64_t head_dim : {16, 20, 24, 30, 36, 48, 60}) CheckRandom(random, {10, 12, 4, head_dim});
  for (int64_t head_dim : {1, 2, 3, 5, 7, 13, 33, 65, 128, 129}) CheckRandom(random, {4, 6, 2, head_dim});
}

TEST(int8_attention, is_exact_at_every_number_of_tokens) {
  Random random;
  for (int64_t width : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 49, 70}) {
    CheckRandom(random, {1, width, 1, 9, 1, 1});
  }
  CheckRandom(random, {32, 32, 4, 16});
}

TEST(int8_attention, walks_patches_of_any_size) {
  Random random;
  CheckRandom(random, {2, 2, 4, 36});
  CheckRandom(random, {6, 6, 3, 11, 3, 2});
  CheckRandom(random, {5, 8, 1, 20, 1, 4});
  CheckRandom(random, {5, 7, 2, 6, 5, 1});
  CheckRandom(random, {4, 4, 2, 6, 4, 4});
}

TEST(int8_attention, scales_reach_their_ends) {
  Random random;
  const Sizes sizes = {6, 8, 2, 20};
  for (float score_scale : {1e-30f, 1e-6f, 1e-3f, 1.0f, 1e30f}) {
    for (float output_multiplier : {1e-6f, 3.0f, 1e30f}) {
      for (int32_t output_zero : {0, 255}) {
        AttentionCase c(sizes, RandomQkv(random, sizes), score_scale, output_multiplier, output_zero);
        CheckAttention(c);
      }
    }
  }
}

// Queries and keys at an end of their range but for two channels, so that the scores are as large as they get
// and differ by little: each unit of a score moves the outputs.
TEST(int8_attention, scores_are_exact_where_they_are_largest) {
  Random random;
  for (int64_t head_dim : {60, 128, 129, 1000}) {
    const Sizes sizes = {6, 6, 2, head_dim};
    for (uint8_t query : {0, 255}) {
      for (uint8_t key : {0, 255}) {
        Bytes qkv = RandomQkv(random, sizes);
        const int64_t dim = sizes.heads * head_dim;
        for (int64_t i = 0; i < static_cast<int64_t>(qkv.size()); ++i) {
          const int64_t part = i / dim % 3, channel = i % head_dim;
          uint8_t& byte = qkv[static_cast<size_t>(i)];
          if (part == 2) continue;
          byte = channel < 2 ? static_cast<uint8_t>(126 + byte % 5) : part == 0 ? query : key;
        }
        CheckAttention(AttentionCase(sizes, qkv, 0.31f));
      }
    }
  }
}

TEST(int8_attention, extremes_of_every_part) {
  Random random;
  const Sizes sizes = {8, 8, 2, 33};
  for (int part = 0; part < 3; ++part) {
    for (uint8_t end : {0, 255}) {
      Bytes qkv = RandomQkv(random, sizes);
      const int64_t dim = sizes.heads * sizes.head_dim;
      for (int64_t i = 0; i < static_cast<int64_t>(qkv.size()); ++i) {
        if (i / dim % 3 == part) qkv[static_cast<size_t>(i)] = end;
      }
      CheckAttention(AttentionCase(sizes, qkv, TypicalScale(sizes.head_dim), 1.0f));
    }
  }
}

}  // namespace
}  // namespace mvf

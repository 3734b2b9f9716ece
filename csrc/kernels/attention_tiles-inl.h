// The arithmetic of attention for one head and one block of queries, which lie in lanes: scores and outputs
// are transposed, so that softmax runs down the keys without a shuffle and no head dimension needs padding.
#pragma once

namespace mvf {
namespace {

// 2^t for softmax, where t <= 0: relative error at most 4e-6. A score of minus infinity gives nothing, a NaN
// stays.
MVF_INLINE Vec SoftmaxExp2(Vec score) {
  const Vec t = Max(Vec::Set(-150.0f), score);
  const Vec f = Fraction(t);
  Vec p = MulAdd(Vec::Set(0.013555747f), f, Vec::Set(0.052032372f));
  p = MulAdd(p, f, Vec::Set(0.24137618f));
  p = MulAdd(p, f, Vec::Set(0.69303156f));
  p = MulAdd(p, f, Vec::Set(1.0000026f));
  return ScaleByExp2(p, t);
}

// scores[key, query] = keys[key, :] . queries[:, query] for kRows keys; `largest` keeps each query's maximum.
template <class Dot, int kRows, int kVectors>
__attribute__((noinline)) void ScoreTile(const typename Dot::Unit* keys, int64_t units,
                                         const typename Dot::Unit* queries, float* scores, float* largest) {
  using Unit = typename Dot::Unit;
  constexpr int kLanes = Vec::kLanes;
  // Three rows share a base pointer, so that the addresses of a tile fit in the integer registers.
  constexpr int kBases = (kRows + 2) / 3;
  Vec sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) sum[i][j] = Vec::Zero();
  }
  const Unit* base[kBases];
#pragma GCC unroll 6
  for (int i = 0; i < kBases; ++i) base[i] = keys + 3 * i * units;
  for (int64_t k = 0; k < units; ++k) {
    Vec query[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) query[j] = Dot::LoadPanel(queries + kLanes * j);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vec key = Dot::Broadcast(base[i / 3] + (i % 3) * units);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[i][j] = Dot::MulAdd(key, query[j], sum[i][j]);
    }
    queries += kLanes * kVectors;
#pragma GCC unroll 6
    for (int i = 0; i < kBases; ++i) {
      ++base[i];
      asm("" : "+r"(base[i]));  // keeps the bases apart: GCC would otherwise rebuild them from one
    }
  }
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
    Vec maximum = Vec::Load(largest + kLanes * j);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      maximum = Max(maximum, sum[i][j]);
      sum[i][j].Store(scores + kLanes * (kVectors * i + j));
    }
    maximum.Store(largest + kLanes * j);
  }
}

// All keys; what is left below a full tile goes through tiles of half the height.
template <class Dot, int kRows, int kVectors>
void ScoreKeys(const typename Dot::Unit* keys, int64_t count, int64_t units,
               const typename Dot::Unit* queries, float* scores, float* largest) {
  constexpr int kWidth = kVectors * Vec::kLanes;
  int64_t key = 0;
  for (; key + kRows <= count; key += kRows) {
    ScoreTile<Dot, kRows, kVectors>(keys + key * units, units, queries, scores + key * kWidth, largest);
  }
  if constexpr (kRows > 1) {
    if (key < count) {
      ScoreKeys<Dot, (kRows + 1) / 2, kVectors>(keys + key * units, count - key, units, queries,
                                                scores + key * kWidth, largest);
    }
  }
}

// What softmax keeps of a block of queries.
template <int kVectors>
struct QueryStatistics {
  alignas(kAlignment) float largest[kVectors * Vec::kLanes];      // score
  alignas(kAlignment) float inverse_sum[kVectors * Vec::kLanes];  // of the exponentials
};

// Units of keys by which the exponential runs ahead of the multiplications that need it: they would fill the
// scheduler while they wait.
constexpr int64_t kExponentialLead = 4;

// output[channel, query] = sum_key values[key, channel] * p[key, query] / sum_key p[key, query] for kRows
// channels. With kExponentiate, p = 2^(score - largest) replaces the scores in place; without, it is there
// already.
template <class Dot, int kRows, int kVectors, bool kExponentiate>
__attribute__((noinline)) void WeighTile(float* scores, const typename Dot::Unit* values, int64_t keys,
                                         QueryStatistics<kVectors>& statistics, float* output) {
  using Unit = typename Dot::Unit;
  constexpr int kLanes = Vec::kLanes;
  constexpr int kWidth = kVectors * kLanes;
  const int64_t units = CeilDiv(keys, Dot::kUnit);
  Unit* const weights = reinterpret_cast<Unit*>(scores);
  Vec sum[kRows][kVectors], total[kVectors], largest[kVectors];
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) sum[i][j] = Vec::Zero();
    total[j] = Vec::Zero();
    if constexpr (kExponentiate) largest[j] = Vec::Load(statistics.largest + kLanes * j);
  }
  const auto exponentiate = [&](int64_t unit) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) {
      Vec parts[Dot::kUnit];
#pragma GCC unroll 2
      for (int k = 0; k < Dot::kUnit; ++k) {
        const int64_t key = unit * Dot::kUnit + k;
        const bool is_key = k == 0 || key < keys;
        parts[k] = is_key ? SoftmaxExp2(Sub(Vec::Load(scores + key * kWidth + kLanes * j), largest[j]))
                          : Vec::Zero();
        total[j] = Add(total[j], parts[k]);
      }
      Dot::StoreUnits(parts, weights + unit * kWidth + kLanes * j);
    }
  };
  const auto multiply = [&](int64_t unit) {
    Vec weight[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) weight[j] = Dot::LoadPanel(weights + unit * kWidth + kLanes * j);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vec value = Dot::Broadcast(values + unit * kRows + i);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[i][j] = Dot::MulAdd(value, weight[j], sum[i][j]);
    }
  };
  int64_t unit = 0;
  if constexpr (kExponentiate) {
    for (int64_t ahead = 0; ahead < Min(kExponentialLead, units); ++ahead) exponentiate(ahead);
    for (; unit + kExponentialLead < units; ++unit) {
      exponentiate(unit + kExponentialLead);
      multiply(unit);
    }
  }
  for (; unit < units; ++unit) multiply(unit);
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
    if constexpr (kExponentiate) Div(Vec::Set(1.0f), total[j]).Store(statistics.inverse_sum + kLanes * j);
    const Vec scale = Vec::Load(statistics.inverse_sum + kLanes * j);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) Mul(sum[i][j], scale).Store(output + kLanes * (kVectors * i + j));
  }
}

}  // namespace
}  // namespace mvf

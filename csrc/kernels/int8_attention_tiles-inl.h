// The arithmetic of 8-bit attention for one head and one block of queries, which lie in lanes, as in
// attention_tiles-inl.h. Scores lack what the keys' zero point adds to them: it is the same for all keys of a
// query.
#pragma once

#include "kernels/int8_weighted_sums-inl.h"

namespace mvf {
namespace {

// What softmax keeps of a block of queries, and what outputs need.
template <int kVectors>
struct Int8QueryStatistics {
  alignas(kAlignment) int32_t largest[kVectors * Vec::kLanes];   // score
  alignas(kAlignment) float multiplier[kVectors * Vec::kLanes];  // of the output, over the sum of weights
};

// Where scores start. Of heads of up to kExactHead channels they stay below 2^22, and added to the bits of
// 1.5 * 2^23 they are those of a float: one that much above it, which needs no conversion.
constexpr int64_t kExactHead = 128;
constexpr int32_t kFloatStart = 0x4b400000;
constexpr bool StartsAsFloat(int64_t head_dim) { return head_dim <= kExactHead; }

// largest - score, exact for scores that start as floats.
template <bool kFloats>
MVF_INLINE Vec DistanceOf(IntVec largest, IntVec score) {
  if constexpr (kFloats) return Sub(BitsAsFloat(largest), BitsAsFloat(score));
  return ToFloat(Sub(largest, score));
}

struct Int8AttentionScales {
  float distance;  // of two scores, in steps
  float output;
  float output_zero;
};

// Weights p = 255 * exp(score - largest) in place of the scores, and what their sums make of the output's
// multiplier.
template <class Dot, int kVectors, bool kFloats>
__attribute__((noinline)) void WeighKeys(int32_t* scores, int64_t keys, Int8AttentionScales scales,
                                         Int8QueryStatistics<kVectors>& statistics) {
  constexpr int kLanes = Vec::kLanes;
  constexpr int kWidth = kVectors * kLanes;
  const Vec scale = Vec::Set(scales.distance);
  IntVec largest[kVectors], total[kVectors];
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
    largest[j] = IntVec::Load(statistics.largest + kLanes * j);
    total[j] = IntVec::Set(0);
  }
  int32_t* weights = scores;
  const auto weigh = [&](int64_t key, int64_t present) __attribute__((always_inline)) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) {
      Vec distance[Dot::kUnit];
#pragma GCC unroll 4
      for (int k = 0; k < Dot::kUnit; ++k) {
        distance[k] = Vec::Set(kDistanceLimit);
        if (k < present) {
          const IntVec score = IntVec::Load(scores + (key + k) * kWidth + kLanes * j);
          distance[k] = Mul(DistanceOf<kFloats>(largest[j], score), scale);
        }
      }
      const IntVec weight = WeightUnits<Dot>(distance);
      total[j] = WeightedSums<Dot>::AddWeights(weight, total[j]);
      WeightedSums<Dot>::Stored(weight).Store(weights + kLanes * j);
    }
    weights += kWidth;
  };
  int64_t key = 0;
  for (; key + Dot::kUnit <= keys; key += Dot::kUnit) weigh(key, Dot::kUnit);
  if (key < keys) weigh(key, keys - key);
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
    Div(Vec::Set(scales.output), ToFloat(total[j])).Store(statistics.multiplier + kLanes * j);
  }
}

// output[channel, query] = sum_unit values[unit, channel] . weights[unit, query] * multiplier + zero, rounded
// and at most 255, for kRows channels.
template <class Dot, int kRows, int kVectors>
__attribute__((noinline)) void WeighValues(const int32_t* weights, const typename Dot::Unit* values,
                                           int64_t value_stride, int64_t units, Int8AttentionScales scales,
                                           const Int8QueryStatistics<kVectors>& statistics, int32_t* output) {
  constexpr int kLanes = Vec::kLanes;
  IntVec sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) sum[i][j] = IntVec::Set(0);
  }
  WeightedSums<Dot>::template Add<kRows, kVectors>(weights, values, value_stride, units, sum);
  const Vec zero = Vec::Set(scales.output_zero);
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
    const Vec multiplier = Vec::Load(statistics.multiplier + kLanes * j);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vec value = FusedMulAdd(ToFloat(sum[i][j]), multiplier, zero);
      RoundToByte(value).Store(output + kLanes * (kVectors * i + j));
    }
  }
}

}  // namespace
}  // namespace mvf

// What attention weighs, by sdot: values from lanes, weights less 128, which the values' own sum puts back.
#pragma once

#include "kernels/int8_weighted_sums-inl.h"

namespace mvf {
namespace {

template <>
struct WeightedSums<Int8Dot> {
  static MVF_INLINE IntVec AddWeights(IntVec units, IntVec total) {
    const uint32x4_t sum =
        vdotq_u32(vreinterpretq_u32_s32(total.v), vreinterpretq_u8_s32(units.v), vdupq_n_u8(1));
    return {vreinterpretq_s32_u32(sum)};
  }
  static MVF_INLINE IntVec Stored(IntVec units) {
    return {veorq_s32(units.v, vreinterpretq_s32_s8(vdupq_n_s8(-128)))};
  }

  // Units lie kInterleaved channels apart at least, so whole vectors of them may be read.
  template <int kRows, int kVectors>
  static MVF_INLINE void Add(const int32_t* weights, const uint32_t* values, int64_t value_stride,
                             int64_t units, IntVec (&sum)[kRows][kVectors]) {
    static_assert(kRows <= Vec::kLanes, "channels come from the lanes of one vector");
    int32x4_t lacking = vdupq_n_s32(0);
    for (int64_t unit = 0; unit < units; ++unit) {
      const int8x16_t value = vreinterpretq_s8_u32(vld1q_u32(values));
      lacking = vdotq_s32(lacking, value, vdupq_n_s8(1));
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        const int8x16_t weight = vreinterpretq_s8_s32(IntVec::Load(weights + Vec::kLanes * j).v);
        ForEachLane<kRows>([&](auto lane) __attribute__((always_inline)) {
          constexpr int i = decltype(lane)::kValue;
          sum[i][j].v = vdotq_laneq_s32(sum[i][j].v, weight, value, i);
        });
      }
      weights += kVectors * Vec::kLanes;
      values += value_stride;
    }
    ForEachLane<kRows>([&](auto lane) __attribute__((always_inline)) {
      constexpr int i = decltype(lane)::kValue;
      const int32x4_t offset = vshlq_n_s32(vdupq_laneq_s32(lacking, i), 7);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[i][j].v = vaddq_s32(sum[i][j].v, offset);
    });
  }
};

}  // namespace
}  // namespace mvf

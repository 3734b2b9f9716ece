// What attention weighs, by sdot: values from lanes, weights less 128, which the values' own sum puts back.
#pragma once

#include "kernels/int8_weighted_sums-inl.h"

namespace mvf {
namespace {

template <>
struct WeightedSums<Int8Dot> {
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
        const IntVec bytes = IntVec::Load(weights + Vec::kLanes * j);
        const int8x16_t weight = veorq_s8(vreinterpretq_s8_s32(bytes.v), vdupq_n_s8(-128));
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

// What attention weighs where products are of signed bytes: weights less 128, which the values' own sum puts
// back.
#pragma once

#include "kernels/int8_weighted_sums-inl.h"

namespace mvf {
namespace {

template <>
struct WeightedSums<Int8Dot> {
  using Row = RowUnits<Int8Dot>;

  static MVF_INLINE IntVec AddWeights(IntVec units, IntVec total) { return Int8Dot::AddBytes(units, total); }
  static MVF_INLINE IntVec Stored(IntVec units) {
    return {veorq_s32(units.v, vreinterpretq_s32_s8(vdupq_n_s8(-128)))};
  }

  // Units lie kInterleaved channels apart at least, so whole vectors of them may be read.
  template <int kRows, int kVectors>
  static MVF_INLINE void Add(const int32_t* weights, const uint32_t* values, int64_t value_stride,
                             int64_t units, IntVec (&sum)[kRows][kVectors]) {
    static_assert(kRows <= Vec::kLanes, "channels come from the lanes of one vector");
    const IntVec ones = IntVec::Set(kOnes<Int8Dot>);
    IntVec lacking = IntVec::Set(0);
    for (int64_t unit = 0; unit < units; ++unit) {
      const IntVec value = Int8Dot::LoadPanel(values);
      lacking = Int8Dot::MulAdd(value, ones, lacking);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        const IntVec weight = Row::LoadPanel(reinterpret_cast<const uint32_t*>(weights) + Vec::kLanes * j);
        ForEachLane<kRows>([&](auto lane) __attribute__((always_inline)) {
          constexpr int i = decltype(lane)::kValue;
          sum[i][j] = Row::MulAddLane<i>(value, weight, sum[i][j]);
        });
      }
      weights += kVectors * Vec::kLanes;
      values += value_stride;
    }
    ForEachLane<kRows>([&](auto lane) __attribute__((always_inline)) {
      constexpr int i = decltype(lane)::kValue;
      const int32x4_t offset = vshlq_n_s32(vdupq_laneq_s32(lacking.v, i), 7);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[i][j].v = vaddq_s32(sum[i][j].v, offset);
    });
  }
};

}  // namespace
}  // namespace mvf

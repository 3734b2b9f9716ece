// The products of attention's weights and values. A vector type may have a way of its own.
#pragma once

namespace mvf {
namespace {

// One in each element of a unit.
template <class Dot>
constexpr int32_t kOnes = Dot::kUnit == 4 ? 0x01010101 : 0x00010001;

// sum[channel, query] += sum_unit values[unit, channel] . weights[unit, query], for kRows channels.
template <class Dot>
struct WeightedSums {
  // The sum of weights with a unit of them in each lane, and what of them is kept for Add.
  static MVF_INLINE IntVec AddWeights(IntVec units, IntVec total) {
    return Dot::MulAdd(units, IntVec::Set(kOnes<Dot>), total);
  }
  static MVF_INLINE IntVec Stored(IntVec units) { return units; }

  template <int kRows, int kVectors>
  static MVF_INLINE void Add(const int32_t* weights, const typename Dot::Unit* values, int64_t value_stride,
                             int64_t units, IntVec (&sum)[kRows][kVectors]) {
    for (int64_t unit = 0; unit < units; ++unit) {
      IntVec weight[kVectors];
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) weight[j] = IntVec::Load(weights + Vec::kLanes * j);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const IntVec value = Dot::Broadcast(values + i);
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) {
          sum[i][j] = Dot::MulAdd(weight[j], value, sum[i][j]);
          Pin(sum[i][j]);
        }
      }
      weights += kVectors * Vec::kLanes;
      values += value_stride;
    }
  }
};

}  // namespace
}  // namespace mvf

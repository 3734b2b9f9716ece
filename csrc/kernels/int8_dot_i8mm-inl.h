// The 8-bit dot policy by usdot: bytes times signed bytes.
#pragma once

namespace mvf {
namespace {

struct Int8Dot : ByteDot {
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    return {vusdotq_s32(sum.v, vreinterpretq_u8_s32(a.v), vreinterpretq_s8_s32(b.v))};
  }
};

template <>
struct RowUnits<Int8Dot> {
  static constexpr int kUnits = Vec::kLanes;
  static constexpr int kStoredLess = 0;
  static MVF_INLINE IntVec Load(const uint32_t* p) {
    return {vreinterpretq_s32_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(p)))};
  }
  static MVF_INLINE IntVec LoadColumns(const uint32_t* p) { return {LoadHere<int32x4_t>(p)}; }
  template <int kLane>
  static MVF_INLINE IntVec MulAddLane(IntVec row, IntVec column, IntVec sum) {
    asm volatile("sudot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sum.v) : "w"(column.v), "w"(row.v), "i"(kLane));
    return sum;
  }
  static MVF_INLINE IntVec Broadcast(const uint32_t* p) { return Int8Dot::Broadcast(p); }
  static MVF_INLINE IntVec LoadPanel(const uint32_t* p) { return Int8Dot::LoadPanel(p); }
  static MVF_INLINE IntVec MulAdd(IntVec row, IntVec column, IntVec sum) {
    return Int8Dot::MulAdd(row, column, sum);
  }
};

}  // namespace
}  // namespace mvf

// The 8-bit dot policy by sdot, whose bytes are both signed.
#pragma once

namespace mvf {
namespace {

struct Int8Dot : SignedByteDot {
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    return {vdotq_s32(sum.v, vreinterpretq_s8_s32(a.v), vreinterpretq_s8_s32(b.v))};
  }
  // The sums of each lane's bytes, which have no sign here.
  static MVF_INLINE IntVec AddBytes(IntVec bytes, IntVec sum) {
    const uint8x16_t ones = vdupq_n_u8(1);
    return {
        vreinterpretq_s32_u32(vdotq_u32(vreinterpretq_u32_s32(sum.v), vreinterpretq_u8_s32(bytes.v), ones))};
  }
};

template <>
struct RowUnits<Int8Dot> {
  static constexpr int kUnits = Vec::kLanes;
  static constexpr int kStoredLess = 128;
  static MVF_INLINE IntVec Load(const uint32_t* p) {
    return {vreinterpretq_s32_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(p)))};
  }
  static MVF_INLINE IntVec LoadColumns(const uint32_t* p) { return {LoadHere<int32x4_t>(p)}; }
  template <int kLane>
  static MVF_INLINE IntVec MulAddLane(IntVec row, IntVec column, IntVec sum) {
    asm volatile("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sum.v) : "w"(column.v), "w"(row.v), "i"(kLane));
    return sum;
  }
  // In the first lane alone, by which MulAdd multiplies: a copy to all would take a multiplication's place.
  static MVF_INLINE IntVec Broadcast(const uint32_t* p) { return LoadUnit(p); }
  static MVF_INLINE IntVec LoadPanel(const uint32_t* p) { return Int8Dot::LoadPanel(p); }
  static MVF_INLINE IntVec MulAdd(IntVec row, IntVec column, IntVec sum) {
    return MulAddLane<0>(row, column, sum);
  }
};

}  // namespace
}  // namespace mvf

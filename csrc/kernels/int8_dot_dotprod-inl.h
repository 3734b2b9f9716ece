// The 8-bit dot policy by sdot, whose bytes are both signed: rows are stored less 128, which the panels'
// headers put back.
#pragma once

namespace mvf {
namespace {

struct Int8Dot : ByteDot {
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    return {vdotq_s32(sum.v, vreinterpretq_s8_s32(a.v), vreinterpretq_s8_s32(b.v))};
  }
  static MVF_INLINE void StoreElements(ByteVec ordered, Element* to) {
    ByteDot::StoreElements(Less128(ordered), to);
  }
  static MVF_INLINE void StorePixels(ByteVec blocks, Element* to) {
    ByteDot::StorePixels(Less128(blocks), to);
  }

 private:
  static MVF_INLINE ByteVec Less128(ByteVec bytes) { return {veorq_u8(bytes.v, vdupq_n_u8(0x80))}; }
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
  static MVF_INLINE IntVec Broadcast(const uint32_t* p) {
    struct Unaligned {
      uint32_t unit;
    } __attribute__((packed, may_alias));
    int32x4_t lanes;
    asm("ldr %s0, %1" : "=w"(lanes) : "m"(*reinterpret_cast<const Unaligned*>(p)));
    return {lanes};
  }
  static MVF_INLINE IntVec MulAdd(IntVec row, IntVec column, IntVec sum) {
    return MulAddLane<0>(row, column, sum);
  }
};

}  // namespace
}  // namespace mvf

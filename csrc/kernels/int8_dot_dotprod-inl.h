// The 8-bit dot policies by sdot, whose bytes are both signed. Rows of a matrix are taken less 128, which the
// panels' headers put back; elsewhere a byte's lower seven bits and its uppermost one, which alone is -128,
// are multiplied apart.
#pragma once

namespace mvf {
namespace {

struct Int8Dot : ByteDot {
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    const int8x16_t bytes = vreinterpretq_s8_s32(a.v), weights = vreinterpretq_s8_s32(b.v);
    const int8x16_t top = vdupq_n_s8(-128);
    const int32x4_t minus = vdotq_s32(vdupq_n_s32(0), vandq_s8(bytes, top), weights);
    return {vsubq_s32(vdotq_s32(sum.v, vbicq_s8(bytes, top), weights), minus)};
  }
};

template <>
struct RowUnits<Int8Dot> {
  static constexpr int kUnits = Vec::kLanes;
  static constexpr int kOffset = 128;
  static constexpr int kStoredLess = 0;
  static MVF_INLINE IntVec Load(const uint32_t* p) {
    const uint8x16_t bytes = vld1q_u8(reinterpret_cast<const uint8_t*>(p));
    return {vreinterpretq_s32_u8(veorq_u8(bytes, vdupq_n_u8(kOffset)))};
  }
  template <int kLane>
  static MVF_INLINE IntVec MulAddLane(IntVec row, IntVec column, IntVec sum) {
    return {vdotq_laneq_s32(sum.v, vreinterpretq_s8_s32(column.v), vreinterpretq_s8_s32(row.v), kLane)};
  }
  // In the first lane alone, by which MulAdd multiplies.
  static MVF_INLINE IntVec Broadcast(const uint32_t* p) {
    const uint8x16_t bytes = vreinterpretq_u8_s32(FirstLane(p));
    return {vreinterpretq_s32_u8(veorq_u8(bytes, vdupq_n_u8(kOffset)))};
  }
  static MVF_INLINE IntVec MulAdd(IntVec row, IntVec column, IntVec sum) {
    return MulAddLane<0>(row, column, sum);
  }

  // A load of one lane needs no multiplication's place, as copies to all lanes do.
  static MVF_INLINE int32x4_t FirstLane(const uint32_t* p) {
    struct Unaligned {
      uint32_t unit;
    } __attribute__((packed, may_alias));
    int32x4_t lanes;
    asm("ldr %s0, %1" : "=w"(lanes) : "m"(*reinterpret_cast<const Unaligned*>(p)));
    return lanes;
  }
};

inline ByteVec Less128(ByteVec bytes) { return {veorq_u8(bytes.v, vdupq_n_u8(0x80))}; }

// Of rows that kernels write for themselves: they are less 128 in memory.
struct StagedDot : Int8Dot {
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    return {vdotq_s32(sum.v, vreinterpretq_s8_s32(a.v), vreinterpretq_s8_s32(b.v))};
  }
  static MVF_INLINE void StoreElements(ByteVec ordered, Element* to) {
    Int8Dot::StoreElements(Less128(ordered), to);
  }
  static MVF_INLINE void StorePixels(ByteVec blocks, Element* to) {
    Int8Dot::StorePixels(Less128(blocks), to);
  }
};
template <>
constexpr int64_t kHeaderRows<StagedDot> = 3;

template <>
struct RowUnits<StagedDot> : RowUnits<Int8Dot> {
  static constexpr int kStoredLess = 128;
  static MVF_INLINE IntVec Load(const uint32_t* p) {
    return {vld1q_s32(reinterpret_cast<const int32_t*>(p))};
  }
  static MVF_INLINE IntVec Broadcast(const uint32_t* p) { return {FirstLane(p)}; }
};

}  // namespace
}  // namespace mvf

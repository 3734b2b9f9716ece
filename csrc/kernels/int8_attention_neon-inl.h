// What 8-bit attention needs of the vectors, on NEON.
#pragma once

#include "kernels/int8_exp2-inl.h"

namespace mvf {
namespace {

inline IntVec Max(IntVec a, IntVec b) { return {vmaxq_s32(a.v, b.v)}; }

// The weights of four distances; see int8_exp2-inl.h.
MVF_INLINE uint32x4_t Int8Exp2(Vec distance) {
  const uint32x4_t limit = vdupq_n_u32(kDistanceLimit);
  const uint32x4_t near = vcltq_f32(distance.v, vdupq_n_f32(kDistanceLimit));
  const uint32x4_t steps = vbslq_u32(near, vcvtnq_u32_f32(distance.v), limit);
  const uint32x4_t fraction = vandq_u32(vshlq_n_u32(steps, 16 - kDistanceBits), vdupq_n_u32(0xffff));
  uint32x4_t missing = vshrq_n_u32(vmulq_n_u32(fraction, kExp2Cubic), 16);
  missing = vshrq_n_u32(vmulq_u32(fraction, vsubq_u32(vdupq_n_u32(kExp2Quadratic), missing)), 16);
  missing = vshrq_n_u32(vmulq_u32(fraction, vsubq_u32(vdupq_n_u32(kExp2Linear), missing)), 16);
  const int32x4_t octaves = vreinterpretq_s32_u32(vshrq_n_u32(steps, kDistanceBits));
  const uint32x4_t power = vshlq_u32(vsubq_u32(vdupq_n_u32(0x7fff), missing), vnegq_s32(octaves));
  return vrshrq_n_u32(vshrq_n_u32(vmulq_n_u32(power, kLargestWeight), 14), 1);
}

// A unit of weights in each lane from the distances of its keys.
template <class Dot>
MVF_INLINE IntVec WeightUnits(const Vec (&distance)[Dot::kUnit]) {
  uint32x4_t units = Int8Exp2(distance[0]);
  units = vsliq_n_u32(units, Int8Exp2(distance[1]), 8);
  units = vsliq_n_u32(units, Int8Exp2(distance[2]), 16);
  return {vreinterpretq_s32_u32(vsliq_n_u32(units, Int8Exp2(distance[3]), 24))};
}

// The bytes that four vectors of sums become, those of a lane side by side.
MVF_INLINE ByteVec PackLanes(IntVec a, IntVec b, IntVec c, IntVec d) {
  return {TransposeBytes(ByteVec::Pack(a, b, c, d).v)};
}

// The first n bytes (1 <= n <= kBytes) from memory, zeros behind them; and to memory.
inline ByteVec LoadBytes(const uint8_t* p, int64_t n) {
  uint8_t bytes[ByteVec::kBytes] = {};
  __builtin_memcpy(bytes, p, static_cast<size_t>(n));
  return ByteVec::Load(bytes);
}
inline void StoreBytes(ByteVec bytes, uint8_t* p, int64_t n) {
  uint8_t all[ByteVec::kBytes];
  bytes.Store(all);
  __builtin_memcpy(p, all, static_cast<size_t>(n));
}

// rows[i] unit j <-> rows[j] unit i.
inline void TransposeUnits(ByteVec rows[Vec::kLanes]) {
  Vec units[Vec::kLanes];
  for (int i = 0; i < Vec::kLanes; ++i) units[i] = {vreinterpretq_f32_u8(rows[i].v)};
  Transpose(units);
  for (int i = 0; i < Vec::kLanes; ++i) rows[i] = {vreinterpretq_u8_f32(units[i].v)};
}

// Bytes as the elements of a row that is multiplied.
template <class Dot>
void StoreElements(ByteVec bytes, typename Dot::Element* to) {
  bytes.Store(to);
}

// Bytes, less 128, as units of a panel; where a unit holds two of a lane's four bytes, the others go `stride`
// slots behind.
template <class Dot>
void StoreSignedUnits(ByteVec bytes, typename Dot::Unit* to, int64_t /*stride*/) {
  vst1q_u32(to, vreinterpretq_u32_u8(veorq_u8(bytes.v, vdupq_n_u8(0x80))));
}

// Unit c: byte c, less 128, of each of `from`, for the first n (1 <= n <= kInterleaved) of them.
template <class Dot>
void StoreInterleaved(const uint8_t* const (&from)[Dot::kUnit], int64_t n, typename Dot::Unit* to) {
  static_assert(kInterleaved == ByteVec::kBytes, "a vector of each");
  uint8x16x4_t parts;
  for (int i = 0; i < Dot::kUnit; ++i) {
    uint8_t bytes[kInterleaved];
    __builtin_memset(bytes, 0x80, sizeof(bytes));
    __builtin_memcpy(bytes, from[i], static_cast<size_t>(n));
    parts.val[i] = veorq_u8(vld1q_u8(bytes), vdupq_n_u8(0x80));
  }
  vst4q_u8(reinterpret_cast<uint8_t*>(to), parts);
}

}  // namespace
}  // namespace mvf

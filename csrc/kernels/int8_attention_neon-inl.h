// What 8-bit attention needs of the vectors, on NEON.
#pragma once

#include "kernels/int8_exp2-inl.h"

namespace mvf {
namespace {

inline IntVec Max(IntVec a, IntVec b) { return {vmaxq_s32(a.v, b.v)}; }

// Steps in the lower half of each lane. The sum rounds them.
MVF_INLINE int16x8_t StepsOf(Vec distance) {
  const float32x4_t limited = vminnmq_f32(distance.v, vdupq_n_f32(kDistanceLimit));
  return vreinterpretq_s16_f32(vaddq_f32(limited, vdupq_n_f32(0x1.8p23f)));
}

// The weights of eight distances in steps; see int8_exp2-inl.h. A product of 15-bit numbers, doubled, keeps
// its upper half.
MVF_INLINE uint16x8_t Int8Exp2(int16x8_t steps) {
  const int16x8_t fraction = vandq_s16(vshlq_n_s16(steps, 15 - kDistanceBits), vdupq_n_s16(0x7fff));
  int16x8_t missing = vqdmulhq_n_s16(fraction, kExp2Quadratic);
  missing = vqdmulhq_s16(fraction, vsubq_s16(vdupq_n_s16(kExp2Linear), missing));
  const int16x8_t octaves = vshrq_n_s16(steps, kDistanceBits);
  const int16x8_t power = vshlq_s16(vsubq_s16(vdupq_n_s16(0x7fff), missing), vnegq_s16(octaves));
  return vreinterpretq_u16_s16(vqrdmulhq_n_s16(power, kLargestWeight));
}

// A unit of weights in each lane from the distances of its keys.
template <class Dot>
MVF_INLINE IntVec WeightUnits(const Vec (&distance)[Dot::kUnit]) {
  static_assert(Dot::kUnit == 4, "a lane holds the weights of four keys");
  const uint16x8_t even = Int8Exp2(vtrn1q_s16(StepsOf(distance[0]), StepsOf(distance[2])));
  const uint16x8_t odd = Int8Exp2(vtrn1q_s16(StepsOf(distance[1]), StepsOf(distance[3])));
  return {vreinterpretq_s32_u16(vsliq_n_u16(even, odd, 8))};
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
  Dot::StoreElements(bytes, to);
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

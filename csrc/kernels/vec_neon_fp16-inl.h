// Eight halves: NEON of 64-bit ARM with half-precision arithmetic. Norms and long sums are taken in floats.
#pragma once

#include "kernels/floats_neon-inl.h"

namespace mvf {
namespace {

struct Vec {
  static constexpr int kLanes = 8;
  using Lane = Half;
  float16x8_t v;

  static Vec Zero() { return Set(0.0f); }
  static Vec Set(float x) { return {vdupq_n_f16(static_cast<float16_t>(x))}; }
  static Vec Load(const Half* p) { return {vreinterpretq_f16_u16(vld1q_u16(&p->bits))}; }
  // The first n lanes (1 <= n <= kLanes) from memory, zeros behind them.
  static Vec LoadPartial(const Half* p, int n) {
    uint64_t low = 0, high = 0;
    if (n >= 4) {
      low = Four(p);
      if (n > 4) high = n == kLanes ? Four(p + 4) : Four(p + n - 4) >> 16 * (kLanes - n);
    } else {
      for (int i = 0; i < n; ++i) low |= static_cast<uint64_t>(p[i].bits) << 16 * i;
    }
    return {vreinterpretq_f16_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)))};
  }
  void Store(Half* p) const { vst1q_u16(&p->bits, vreinterpretq_u16_f16(v)); }
  void StorePartial(Half* p, int n) const {
    const uint64x2_t fours = vreinterpretq_u64_f16(v);
    const uint64_t low = vgetq_lane_u64(fours, 0);
    if (n < 4) {
      for (int i = 0; i < n; ++i) p[i].bits = static_cast<uint16_t>(low >> 16 * i);
      return;
    }
    __builtin_memcpy(p, &low, sizeof(low));
    if (n == 4) return;
    const uint64_t high = vgetq_lane_u64(fours, 1);
    const uint64_t last = n == kLanes ? high : low >> 16 * (n - 4) | high << 16 * (kLanes - n);
    __builtin_memcpy(p + n - 4, &last, sizeof(last));
  }

 private:
  static uint64_t Four(const Half* p) {
    uint64_t four;
    __builtin_memcpy(&four, p, sizeof(four));
    return four;
  }
};

inline Floats Part(Vec v, int part) {
  return {part == 0 ? vcvt_f32_f16(vget_low_f16(v.v)) : vcvt_high_f32_f16(v.v)};
}

// To the nearest, or infinity.
inline Half ToLane(float x) {
  const float16_t rounded = static_cast<float16_t>(x);
  Half half;
  __builtin_memcpy(&half, &rounded, sizeof(half));
  return half;
}

inline Vec Add(Vec a, Vec b) { return {vaddq_f16(a.v, b.v)}; }
inline Vec Sub(Vec a, Vec b) { return {vsubq_f16(a.v, b.v)}; }
inline Vec Mul(Vec a, Vec b) { return {vmulq_f16(a.v, b.v)}; }
inline Vec Max(Vec a, Vec b) { return {vmaxq_f16(a.v, b.v)}; }                    // NaN where one is
inline Vec MulAdd(Vec a, Vec b, Vec c) { return {vfmaq_f16(c.v, a.v, b.v)}; }     // a * b + c
inline Vec NegMulAdd(Vec a, Vec b, Vec c) { return {vfmsq_f16(c.v, a.v, b.v)}; }  // c - a * b

struct HalfLanes {
  alignas(16) float16_t lanes[8];
};
constexpr HalfLanes MakeHalfLanes(float x) {
  const float16_t half = static_cast<float16_t>(x);
  return {{half, half, half, half, half, half, half, half}};
}
constexpr HalfLanes kExp2HalfLow = MakeHalfLanes(0.99992821f), kExp2HalfHigh = MakeHalfLanes(0.24260897f);

// 2^(t + kScale): a polynomial of degree 3 for what rounding t leaves, within 8e-5 of 2^x on [-0.5, 0.5], and
// the whole number, which the sum of t and 1.5 * 2^10 has in its low bits, added to the exponent. The result
// must be a normal number.
template <int kScale>
inline Vec Exp2(Vec t) {
  const float16x8_t shift = Vec::Set(1536.0f + kScale).v;
  const float16x8_t grid = vaddq_f16(t.v, shift);
  const float16x8_t f = vsubq_f16(t.v, vsubq_f16(grid, shift));
  const float16x8_t low = vfmaq_f16(LoadAtUse(kExp2HalfLow, f), f, Vec::Set(0.69326095f).v);
  const float16x8_t high = vfmaq_f16(LoadAtUse(kExp2HalfHigh, f), f, Vec::Set(0.05517068f).v);
  const float16x8_t power = vfmaq_f16(low, vmulq_f16(f, f), high);
  const int16x8_t exponent = vshlq_n_s16(vreinterpretq_s16_f16(grid), 10);
  return {vreinterpretq_f16_s16(vaddq_s16(vreinterpretq_s16_f16(power), exponent))};
}

// 2^t for t <= 0, with subnormal results and, from 2^-24.5 on, the smallest of them; a NaN stays one.
inline Vec Exp2OfNegative(Vec t) {
  constexpr int kScale = 10;
  const Vec limited = {vmaxq_f16(t.v, Vec::Set(-24.484375f).v)};
  return Mul(Exp2<kScale>(limited), Vec::Set(1.0f / (1 << kScale)));
}

// x / (1 + 2^t), t limited to [-14, 14): beyond that the answer is less than 2^-13 of x away. A division
// takes longer than the difference of bits and two steps of Newton's that stand for it, within 8e-4.
inline Vec OverOnePlusExp2(Vec x, Vec t) {
  const Vec limited = {vminq_f16(vmaxq_f16(t.v, Vec::Set(-14.0f).v), Vec::Set(13.9921875f).v)};
  const float16x8_t divisor = vaddq_f16(Exp2<0>(limited).v, Vec::Set(1.0f).v);
  float16x8_t inverse = vreinterpretq_f16_s16(vsubq_s16(vdupq_n_s16(0x777e), vreinterpretq_s16_f16(divisor)));
  inverse = vmulq_f16(inverse, vrecpsq_f16(divisor, inverse));
  inverse = vmulq_f16(inverse, vrecpsq_f16(divisor, inverse));
  return {vmulq_f16(x.v, inverse)};
}

// rows[i] lane j <-> rows[j] lane i.
inline __attribute__((always_inline)) void Transpose(Vec rows[8]) {
  uint32x4_t pairs[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = vreinterpretq_u32_f16(vtrn1q_f16(rows[i].v, rows[i + 1].v));
    pairs[i + 1] = vreinterpretq_u32_f16(vtrn2q_f16(rows[i].v, rows[i + 1].v));
  }
  uint64x2_t fours[8];
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      fours[i + j] = vreinterpretq_u64_u32(vtrn1q_u32(pairs[i + j], pairs[i + j + 2]));
      fours[i + j + 2] = vreinterpretq_u64_u32(vtrn2q_u32(pairs[i + j], pairs[i + j + 2]));
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    rows[i].v = vreinterpretq_f16_u64(vtrn1q_u64(fours[i], fours[i + 4]));
    rows[i + 4].v = vreinterpretq_f16_u64(vtrn2q_u64(fours[i], fours[i + 4]));
  }
}

// Vectors of columns in a panel: at most, and unless a matrix has fewer left.
constexpr int kMaxPanelVectors = 2;
constexpr int kPanelVectors = 2;

// Micro-kernel height for a panel of `vectors` vectors: 32 registers hold rows * vectors accumulators, eight
// units of each row and one row of the panel.
constexpr int TileRows(int vectors) { return vectors == 1 ? 12 : 8; }

// Channels of the values that attention weighs at once for two vectors of queries: even, and at most kLanes.
constexpr int kValueRows = 8;

// Pixels of a row that a depthwise convolution sums at once when it works on `rows` rows.
constexpr int DepthwisePixels(int /*rows*/) { return 4; }

}  // namespace
}  // namespace mvf

// Four floats: NEON of 64-bit ARM. Included once by each neon table, before the loops.
#pragma once

#include <arm_neon.h>

#include "base/view.h"

namespace mvf {
namespace {

struct Vec {
  static constexpr int kLanes = 4;
  float32x4_t v;

  static Vec Zero() { return Set(0.0f); }
  static Vec Set(float x) { return {vdupq_n_f32(x)}; }
  static Vec Load(const float* p) { return {vld1q_f32(p)}; }
  // The first n lanes (1 <= n <= kLanes) from memory, zeros behind them.
  static Vec LoadPartial(const float* p, int n) {
    float lanes[kLanes] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return Load(lanes);
  }
  static Vec Load(const uint8_t* p) {
    uint32_t bytes;
    __builtin_memcpy(&bytes, p, sizeof(bytes));
    const uint16x8_t words = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes)));
    return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(words)))};
  }
  static Vec LoadPartial(const uint8_t* p, int n) {
    uint8_t bytes[kLanes] = {};
    for (int i = 0; i < n; ++i) bytes[i] = p[i];
    return Load(bytes);
  }
  void Store(float* p) const { vst1q_f32(p, v); }
  void StorePartial(float* p, int n) const {
    float lanes[kLanes];
    Store(lanes);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }
  // Clamped to a byte and rounded to the nearest, halves to even.
  void Store(uint8_t* p) const {
    // What is no number becomes 255, as on x86.
    const uint32x4_t is_number = vceqq_f32(v, v);
    const uint32x4_t whole = vbslq_u32(is_number, vcvtnq_u32_f32(v), vdupq_n_u32(255));
    const uint16x4_t words = vqmovn_u32(whole);
    const uint8x8_t bytes = vqmovn_u16(vcombine_u16(words, words));
    const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
    __builtin_memcpy(p, &four, sizeof(four));
  }
  void StorePartial(uint8_t* p, int n) const {
    uint8_t bytes[kLanes];
    Store(bytes);
    for (int i = 0; i < n; ++i) p[i] = bytes[i];
  }
};

inline Vec Add(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
inline Vec Sub(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
inline Vec Mul(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
inline Vec Div(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
// The second where one is no number, as on x86.
inline Vec Min(Vec a, Vec b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
inline Vec Max(Vec a, Vec b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
inline Vec Sqrt(Vec a) { return {vsqrtq_f32(a.v)}; }
inline Vec MulAdd(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }             // a * b + c
inline Vec MulSub(Vec a, Vec b, Vec c) { return {vfmaq_f32(vnegq_f32(c.v), a.v, b.v)}; }  // a * b - c
inline Vec NegMulAdd(Vec a, Vec b, Vec c) { return {vfmsq_f32(c.v, a.v, b.v)}; }          // c - a * b
inline float ReduceAdd(Vec a) { return vaddvq_f32(a.v); }
inline float ReduceMax(Vec a) { return vmaxvq_f32(a.v); }

// 2^t for |t| up to 126: a polynomial of degree 5 for what rounding t leaves, within 8e-8 of 2^x on
// [-0.5, 0.5], and the whole number added to the exponent.
inline Vec Exp2(Vec t) {
  const float32x4_t whole = vrndnq_f32(t.v), f = vsubq_f32(t.v, whole), square = vmulq_f32(f, f);
  const float32x4_t low = vfmaq_n_f32(vdupq_n_f32(1.0000001f), f, 0.69314694f);
  const float32x4_t middle = vfmaq_n_f32(vdupq_n_f32(0.2402212f), f, 0.05550713f);
  const float32x4_t high = vfmaq_n_f32(vdupq_n_f32(0.009675541f), f, 0.0013276471f);
  const float32x4_t power = vfmaq_f32(low, square, vfmaq_f32(middle, square, high));
  const int32x4_t exponent = vshlq_n_s32(vcvtq_s32_f32(whole), 23);
  return {vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(power), exponent))};
}

constexpr float kExp2Limit = 120.0f;

// 1 + 2^t, with |t| limited to kExp2Limit.
inline Vec OnePlusExp2(Vec t) {
  return Add(Exp2(Min(Max(t, Vec::Set(-kExp2Limit)), Vec::Set(kExp2Limit))), Vec::Set(1.0f));
}

// 2^t for t <= 0, which is limited to -kExp2Limit; a NaN stays one.
inline Vec Exp2OfNegative(Vec t) { return Exp2(Max(Vec::Set(-kExp2Limit), t)); }

// rows[i] lane j <-> rows[j] lane i.
inline __attribute__((always_inline)) void Transpose(Vec rows[4]) {
  const float64x2_t even = vreinterpretq_f64_f32(vtrn1q_f32(rows[0].v, rows[1].v));
  const float64x2_t odd = vreinterpretq_f64_f32(vtrn2q_f32(rows[0].v, rows[1].v));
  const float64x2_t other_even = vreinterpretq_f64_f32(vtrn1q_f32(rows[2].v, rows[3].v));
  const float64x2_t other_odd = vreinterpretq_f64_f32(vtrn2q_f32(rows[2].v, rows[3].v));
  rows[0].v = vreinterpretq_f32_f64(vtrn1q_f64(even, other_even));
  rows[1].v = vreinterpretq_f32_f64(vtrn1q_f64(odd, other_odd));
  rows[2].v = vreinterpretq_f32_f64(vtrn2q_f64(even, other_even));
  rows[3].v = vreinterpretq_f32_f64(vtrn2q_f64(odd, other_odd));
}

// Vectors of columns in a panel, unless a matrix has fewer left.
constexpr int kPanelVectors = 2;

// Micro-kernel height for a panel of `vectors` vectors: 32 registers hold rows * vectors accumulators, four
// units of each row and one row of the panel.
constexpr int TileRows(int vectors) { return vectors == 1 ? 12 : vectors == 2 ? 8 : 4; }

// Channels of the values that attention weighs at once for two vectors of queries: even, and at most kLanes.
constexpr int kValueRows = 4;

// Pixels of a row that a depthwise convolution sums at once when it works on `rows` rows.
constexpr int DepthwisePixels(int /*rows*/) { return 4; }

}  // namespace
}  // namespace mvf

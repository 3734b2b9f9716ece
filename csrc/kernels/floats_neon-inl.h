// Four floats: NEON of 64-bit ARM.
#pragma once

#include <arm_neon.h>

#include "base/view.h"

namespace mvf {
namespace {

struct Floats {
  static constexpr int kLanes = 4;
  using Lane = float;
  float32x4_t v;

  static Floats Zero() { return Set(0.0f); }
  static Floats Set(float x) { return {vdupq_n_f32(x)}; }
  static Floats Load(const float* p) { return {vld1q_f32(p)}; }
  static Floats Load(const Half* p) { return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)))}; }
  // The first n lanes (1 <= n <= kLanes) from memory, zeros behind them.
  static Floats LoadPartial(const float* p, int n) {
    float lanes[kLanes] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return Load(lanes);
  }
  static Floats LoadPartial(const Half* p, int n) {
    Half lanes[kLanes] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return Load(lanes);
  }
  static Floats Load(const uint8_t* p) {
    uint32_t bytes;
    __builtin_memcpy(&bytes, p, sizeof(bytes));
    const uint16x8_t words = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes)));
    return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(words)))};
  }
  static Floats LoadPartial(const uint8_t* p, int n) {
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
  void Store(Half* p) const { vst1_u16(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32(v))); }
  void StorePartial(Half* p, int n) const {
    Half lanes[kLanes];
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

inline Floats Add(Floats a, Floats b) { return {vaddq_f32(a.v, b.v)}; }
inline Floats Sub(Floats a, Floats b) { return {vsubq_f32(a.v, b.v)}; }
inline Floats Mul(Floats a, Floats b) { return {vmulq_f32(a.v, b.v)}; }
inline Floats Div(Floats a, Floats b) { return {vdivq_f32(a.v, b.v)}; }
// NaN where one is.
inline Floats Min(Floats a, Floats b) { return {vminq_f32(a.v, b.v)}; }
inline Floats Max(Floats a, Floats b) { return {vmaxq_f32(a.v, b.v)}; }
inline Floats MulAdd(Floats a, Floats b, Floats c) { return {vfmaq_f32(c.v, a.v, b.v)}; }  // a * b + c
inline Floats MulSub(Floats a, Floats b, Floats c) {
  return {vfmaq_f32(vnegq_f32(c.v), a.v, b.v)};
}  // a * b - c
inline Floats NegMulAdd(Floats a, Floats b, Floats c) { return {vfmsq_f32(c.v, a.v, b.v)}; }  // c - a * b
inline float ReduceAdd(Floats a) { return vaddvq_f32(a.v); }
inline float ReduceMax(Floats a) { return vmaxvq_f32(a.v); }

// What 2^f has three times over: a constant and a slope.
struct Exp2Term {
  alignas(16) float constant[4];
  float slope;
};
constexpr Exp2Term MakeExp2Term(float c, float slope) { return {{c, c, c, c}, slope}; }
constexpr Exp2Term kExp2Low = MakeExp2Term(1.0000001f, 0.69314694f);
constexpr Exp2Term kExp2Middle = MakeExp2Term(0.2402212f, 0.05550713f);
constexpr Exp2Term kExp2High = MakeExp2Term(0.009675541f, 0.0013276471f);

// A vector from memory, loaded here and not where the compiler would: micro-kernels name the order of their
// loads and multiplications (which are volatile, too), so that on processors that do not reorder instructions
// nothing waits for what stands beside it.
template <class Vector>
inline Vector LoadHere(const void* p) {
  struct Unaligned {
    uint8_t bytes[16];
  } __attribute__((packed, may_alias));
  Vector loaded;
  asm volatile("ldr %q0, %1" : "=w"(loaded) : "m"(*static_cast<const Unaligned*>(p)));
  return loaded;
}

// A constant that comes from memory each time: a copy of a register, which the sum is to replace, would take
// a multiplication's place. That it pretends to need `user` keeps it where it is used.
template <class Vector, class Constant>
inline Vector LoadAtUse(const Constant& constant, Vector user) {
  Vector loaded;
  asm("ldr %q0, %1" : "=w"(loaded) : "m"(constant), "w"(user));
  return loaded;
}

// constant + slope * f
inline float32x4_t AtFraction(const Exp2Term& term, float32x4_t f) {
  return vfmaq_n_f32(LoadAtUse(term.constant, f), f, term.slope);
}

// 2^f on [-0.5, 0.5]: a polynomial of degree 5, within 8e-8.
inline float32x4_t Exp2OfFraction(float32x4_t f) {
  const float32x4_t square = vmulq_f32(f, f);
  const float32x4_t high = vfmaq_f32(AtFraction(kExp2Middle, f), square, AtFraction(kExp2High, f));
  return vfmaq_f32(AtFraction(kExp2Low, f), square, high);
}

constexpr float kExp2Limit = 120.0f;

// 1 + 2^t, with |t| limited to kExp2Limit. Rounding and conversion share a pipe with the division that
// follows; so t is rounded by a sum that leaves the whole number in its low bits.
inline Floats OnePlusExp2(Floats t) {
  const float32x4_t shift = vdupq_n_f32(0x1.8p23f);
  const float32x4_t limited = Min(Max(t, Floats::Set(-kExp2Limit)), Floats::Set(kExp2Limit)).v;
  const float32x4_t grid = vaddq_f32(limited, shift);
  const float32x4_t power = Exp2OfFraction(vsubq_f32(limited, vsubq_f32(grid, shift)));
  const int32x4_t exponent = vshlq_n_s32(vreinterpretq_s32_f32(grid), 23);
  const float32x4_t exp2 = vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(power), exponent));
  return Add({exp2}, Floats::Set(1.0f));
}

// 2^t for t <= 0; a NaN stays one. Where the exponent has an end the sum of the bits saturates, at 0.
inline Floats Exp2OfNegative(Floats t) {
  const float32x4_t whole = vrndnq_f32(t.v), power = Exp2OfFraction(vsubq_f32(t.v, whole));
  const int32x4_t exponent = vqshlq_n_s32(vcvtq_s32_f32(whole), 23);
  return {vreinterpretq_f32_u32(vsqaddq_u32(vreinterpretq_u32_f32(power), exponent))};
}

// rows[i] lane j <-> rows[j] lane i.
inline __attribute__((always_inline)) void Transpose(Floats rows[4]) {
  const float64x2_t even = vreinterpretq_f64_f32(vtrn1q_f32(rows[0].v, rows[1].v));
  const float64x2_t odd = vreinterpretq_f64_f32(vtrn2q_f32(rows[0].v, rows[1].v));
  const float64x2_t other_even = vreinterpretq_f64_f32(vtrn1q_f32(rows[2].v, rows[3].v));
  const float64x2_t other_odd = vreinterpretq_f64_f32(vtrn2q_f32(rows[2].v, rows[3].v));
  rows[0].v = vreinterpretq_f32_f64(vtrn1q_f64(even, other_even));
  rows[1].v = vreinterpretq_f32_f64(vtrn1q_f64(odd, other_odd));
  rows[2].v = vreinterpretq_f32_f64(vtrn2q_f64(even, other_even));
  rows[3].v = vreinterpretq_f32_f64(vtrn2q_f64(odd, other_odd));
}

}  // namespace
}  // namespace mvf

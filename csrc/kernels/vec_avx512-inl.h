// Sixteen floats: AVX-512. Included once by each avx512 table, before the loops.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of the intrinsics' own undefined values.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

#include "base/view.h"
#include "kernels/exp2_table-inl.h"

namespace mvf {
namespace {

struct Vec {
  static constexpr int kLanes = 16;
  using Lane = float;
  __m512 v;

  static Vec Zero() { return {_mm512_setzero_ps()}; }
  static Vec Set(float x) { return {_mm512_set1_ps(x)}; }
  static Vec Load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vec Load(const Bf16* p) { return FromBf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
  // The first n lanes (1 <= n <= kLanes) from memory, zeros behind them.
  static Vec LoadPartial(const float* p, int n) { return {_mm512_maskz_loadu_ps(FirstLanes(n), p)}; }
  static Vec LoadPartial(const Bf16* p, int n) {
    return FromBf16(_mm256_maskz_loadu_epi16(FirstLanes(n), p));
  }
  static Vec Load(const uint8_t* p) {
    return FromBytes(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Vec LoadPartial(const uint8_t* p, int n) {
    return FromBytes(_mm_maskz_loadu_epi8(FirstLanes(n), p));
  }
  void Store(float* p) const { _mm512_storeu_ps(p, v); }
  void StorePartial(float* p, int n) const { _mm512_mask_storeu_ps(p, FirstLanes(n), v); }
  // Clamped to a byte and rounded to the nearest, halves to even.
  void Store(uint8_t* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), ToBytes()); }
  void StorePartial(uint8_t* p, int n) const { _mm_mask_storeu_epi8(p, FirstLanes(n), ToBytes()); }
#ifdef __AVX512BF16__  // rounds to nearest even
  void Store(Bf16* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), Rounded()); }
  void StorePartial(Bf16* p, int n) const { _mm256_mask_storeu_epi16(p, FirstLanes(n), Rounded()); }
#endif

 private:
  static __mmask16 FirstLanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }
#ifdef __AVX512BF16__
  __m256i Rounded() const { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)); }
#endif
  static Vec FromBytes(__m128i bytes) { return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))}; }
  __m128i ToBytes() const {
    const __m512 clamped = _mm512_max_ps(_mm512_min_ps(v, _mm512_set1_ps(255.0f)), _mm512_setzero_ps());
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(clamped));
  }
  static Vec FromBf16(__m256i bits) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
  }
};

// What norms and long sums are computed in; a Vec is made of Vec::kLanes / Floats::kLanes parts.
using Floats = Vec;
inline Floats Part(Vec v, int /*part*/) { return v; }
inline float ToLane(float x) { return x; }

inline Vec Add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec Sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec Mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec Div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec Min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec Max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec MulAdd(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }      // a * b + c
inline Vec MulSub(Vec a, Vec b, Vec c) { return {_mm512_fmsub_ps(a.v, b.v, c.v)}; }      // a * b - c
inline Vec NegMulAdd(Vec a, Vec b, Vec c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a * b
inline float ReduceAdd(Vec a) { return _mm512_reduce_add_ps(a.v); }
inline float ReduceMax(Vec a) { return _mm512_reduce_max_ps(a.v); }

// 2^t as a product, for |t| up to kExp2Limit.
struct Exp2Factors {
  Vec quadratic, scale;
};
inline Exp2Factors FactorExp2(Vec t) {
  const __m512 grid = _mm512_add_ps(t.v, _mm512_set1_ps(kExp2Grid));
  const __m512 f = _mm512_sub_ps(t.v, _mm512_sub_ps(grid, _mm512_set1_ps(kExp2Grid + kExp2Shift)));
  const __m512i index = _mm512_castps_si512(grid);
  const __m512i power = _mm512_permutexvar_epi32(index, _mm512_load_si512(kExp2Table));
  const __m512i scale = _mm512_add_epi32(power, _mm512_slli_epi32(index, kExp2ExponentShift));
  return {{_mm512_fmadd_ps(f, f, _mm512_set1_ps(kExp2Square))}, {_mm512_castsi512_ps(scale)}};
}

// 1 + 2^t, with |t| limited to kExp2Limit.
inline Vec OnePlusExp2(Vec t) {
  constexpr int kSmallerMagnitudeWithFirstSign = 2;
  const Exp2Factors factors =
      FactorExp2({_mm512_range_ps(t.v, _mm512_set1_ps(kExp2Limit), kSmallerMagnitudeWithFirstSign)});
  return MulAdd(factors.quadratic, factors.scale, Vec::Set(1.0f));
}

// 2^t for t <= 0, which is limited to -kExp2Limit; a NaN stays one.
inline Vec Exp2OfNegative(Vec t) {
  const Exp2Factors factors = FactorExp2(Max(Vec::Set(-kExp2Limit), t));
  return Mul(factors.quadratic, factors.scale);
}

// x / (1 + 2^t)
#ifdef __AMX_BF16__  // An estimate has more digits than bfloat16 keeps, and tiles do not hide divisions.
inline Vec OverOnePlusExp2(Vec x, Vec t) { return {_mm512_mul_ps(x.v, _mm512_rcp14_ps(OnePlusExp2(t).v))}; }
#else  // A division is faster here than an estimate with a Newton step.
inline Vec OverOnePlusExp2(Vec x, Vec t) { return Div(x, OnePlusExp2(t)); }
#endif

// rows[i] lane j <-> rows[j] lane i.
inline __attribute__((always_inline)) void Transpose(Vec rows[16]) {
  __m512i r[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = _mm512_castps_si512(rows[i].v);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) rows[i].v = _mm512_castsi512_ps(r[i]);
}

// Vectors of columns in a panel: at most, and unless a matrix has fewer left.
constexpr int kMaxPanelVectors = 3;
constexpr int kPanelVectors = 3;

// Micro-kernel height for a panel of `vectors` vectors: 32 registers hold rows * vectors accumulators, one
// row of the panel and a broadcast.
constexpr int TileRows(int vectors) { return vectors == 1 ? 16 : 8; }

// Channels of the values that attention weighs at once for two vectors of queries: even, and at most kLanes.
constexpr int kValueRows = 12;

// Pixels of a row that a depthwise convolution sums at once when it works on `rows` rows: their sums, as many
// waiting for their activation, and the nine weights.
constexpr int DepthwisePixels(int /*rows*/) { return 4; }

}  // namespace
}  // namespace mvf

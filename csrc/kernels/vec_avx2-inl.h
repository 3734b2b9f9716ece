// Eight floats: AVX2 with FMA. Included once by each avx2 table, before the loops.
#pragma once

#include <immintrin.h>

#include "base/view.h"
#include "kernels/exp2_table-inl.h"

namespace mvf {
namespace {

struct Vec {
  static constexpr int kLanes = 8;
  using Lane = float;
  __m256 v;

  static Vec Zero() { return {_mm256_setzero_ps()}; }
  static Vec Set(float x) { return {_mm256_set1_ps(x)}; }
  static Vec Load(const float* p) { return {_mm256_loadu_ps(p)}; }
  // The first n lanes (1 <= n <= kLanes) from memory, zeros behind them.
  static Vec LoadPartial(const float* p, int n) { return {_mm256_maskload_ps(p, FirstLanes(n))}; }
  static Vec Load(const uint8_t* p) {
    return FromBytes(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static Vec LoadPartial(const uint8_t* p, int n) {
    uint8_t bytes[8] = {};
    for (int i = 0; i < n; ++i) bytes[i] = p[i];
    return Load(bytes);
  }
  void Store(float* p) const { _mm256_storeu_ps(p, v); }
  void StorePartial(float* p, int n) const { _mm256_maskstore_ps(p, FirstLanes(n), v); }
  // Clamped to a byte and rounded to the nearest, halves to even.
  void Store(uint8_t* p) const { _mm_storel_epi64(reinterpret_cast<__m128i*>(p), ToBytes()); }
  void StorePartial(uint8_t* p, int n) const {
    uint8_t bytes[8];
    Store(bytes);
    for (int i = 0; i < n; ++i) p[i] = bytes[i];
  }

 private:
  static Vec FromBytes(__m128i bytes) { return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))}; }
  __m128i ToBytes() const {
    const __m256 clamped = _mm256_max_ps(_mm256_min_ps(v, _mm256_set1_ps(255.0f)), _mm256_setzero_ps());
    const __m256i rounded = _mm256_cvtps_epi32(clamped);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
    return _mm_packus_epi16(words, words);
  }
  static __m256i FirstLanes(int n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
  }
};

// What norms and long sums are computed in; a Vec is made of Vec::kLanes / Floats::kLanes parts.
using Floats = Vec;
inline Floats Part(Vec v, int /*part*/) { return v; }
inline float ToLane(float x) { return x; }

inline Vec Add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec Sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec Mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec Div(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Vec Min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Vec Max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec MulAdd(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }      // a * b + c
inline Vec MulSub(Vec a, Vec b, Vec c) { return {_mm256_fmsub_ps(a.v, b.v, c.v)}; }      // a * b - c
inline Vec NegMulAdd(Vec a, Vec b, Vec c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a * b

inline float ReduceAdd(Vec a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float ReduceMax(Vec a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// 2^t as a product, for |t| up to kExp2Limit.
struct Exp2Factors {
  Vec quadratic, scale;
};
inline Exp2Factors FactorExp2(Vec t) {
  const __m256 grid = _mm256_add_ps(t.v, _mm256_set1_ps(kExp2Grid));
  const __m256 f = _mm256_sub_ps(t.v, _mm256_sub_ps(grid, _mm256_set1_ps(kExp2Grid + kExp2Shift)));
  const __m256i index = _mm256_castps_si256(grid);
  const __m256i* table = reinterpret_cast<const __m256i*>(kExp2Table);
  const __m256i low = _mm256_permutevar8x32_epi32(_mm256_load_si256(table), index);
  const __m256i high = _mm256_permutevar8x32_epi32(_mm256_load_si256(table + 1), index);
  const __m256i bit3_as_sign = _mm256_slli_epi32(index, 28);
  const __m256 power = _mm256_blendv_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high),
                                        _mm256_castsi256_ps(bit3_as_sign));
  const __m256i scale =
      _mm256_add_epi32(_mm256_castps_si256(power), _mm256_slli_epi32(index, kExp2ExponentShift));
  return {{_mm256_fmadd_ps(f, f, _mm256_set1_ps(kExp2Square))}, {_mm256_castsi256_ps(scale)}};
}

// 1 + 2^t, with |t| limited to kExp2Limit.
inline Vec OnePlusExp2(Vec t) {
  const __m256 above = _mm256_max_ps(t.v, _mm256_set1_ps(-kExp2Limit));
  const Exp2Factors factors = FactorExp2({_mm256_min_ps(above, _mm256_set1_ps(kExp2Limit))});
  return MulAdd(factors.quadratic, factors.scale, Vec::Set(1.0f));
}

// 2^t for t <= 0, which is limited to -kExp2Limit; a NaN stays one.
inline Vec Exp2OfNegative(Vec t) {
  const Exp2Factors factors = FactorExp2(Max(Vec::Set(-kExp2Limit), t));
  return Mul(factors.quadratic, factors.scale);
}

// x / (1 + 2^t); a true division is faster here than a reciprocal estimate with a Newton step.
inline Vec OverOnePlusExp2(Vec x, Vec t) { return Div(x, OnePlusExp2(t)); }

// rows[i] lane j <-> rows[j] lane i.
inline __attribute__((always_inline)) void Transpose(Vec rows[8]) {
  __m256 t[8], u[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(rows[2 * i].v, rows[2 * i + 1].v);
    t[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i].v, rows[2 * i + 1].v);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    rows[i].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    rows[i + 4].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

// Vectors of columns in a panel: at most, and unless a matrix has fewer left.
constexpr int kMaxPanelVectors = 3;
constexpr int kPanelVectors = 3;

// Micro-kernel height for a panel of `vectors` vectors: 16 registers hold rows * vectors accumulators, one
// row of the panel and a broadcast.
constexpr int TileRows(int vectors) { return vectors == 1 ? 8 : vectors == 2 ? 6 : 4; }

// Channels of the values that attention weighs at once for two vectors of queries: even, and at most kLanes.
constexpr int kValueRows = 6;

// Pixels of a row that a depthwise convolution sums at once when it works on `rows` rows: their sums stay in
// registers, as many waiting for their activation and the nine weights do so only in part.
constexpr int DepthwisePixels(int rows) { return rows == 2 ? 3 : 4; }

}  // namespace
}  // namespace mvf

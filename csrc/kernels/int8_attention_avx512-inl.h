// What 8-bit attention needs of the vectors of AVX-512.
#pragma once

#include "kernels/int8_exp2-inl.h"

namespace mvf {
namespace {

inline IntVec Max(IntVec a, IntVec b) { return {_mm512_max_epi32(a.v, b.v)}; }

// The weights of distances in 16 bits; that of -32768, which stands for what 32 bits do not hold, is 0.
MVF_INLINE __m512i Int8Exp2(__m512i distances) {
  const __m512i fraction = _mm512_slli_epi16(distances, 16 - kDistanceBits);
  __m512i missing = _mm512_mulhi_epu16(fraction, _mm512_set1_epi16(kExp2Quadratic));
  missing = _mm512_mulhi_epu16(fraction, _mm512_sub_epi16(_mm512_set1_epi16(kExp2Linear), missing));
  const __m512i power = _mm512_srlv_epi16(_mm512_xor_si512(missing, _mm512_set1_epi16(0x7fff)),
                                          _mm512_srli_epi16(distances, kDistanceBits));
  return _mm512_mulhrs_epi16(power, _mm512_set1_epi16(kLargestWeight));
}

// A unit of weights in each lane from the distances of its keys.
template <class Dot>
MVF_INLINE IntVec WeightUnits(const Vec (&distance)[Dot::kUnit]) {
  const auto weigh = [&](int k) {
    return Int8Exp2(_mm512_packs_epi32(Round(distance[k]).v, Round(distance[k + 1]).v));
  };
  if constexpr (Dot::kUnit == 4) {
    const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return {_mm512_shuffle_epi8(_mm512_packus_epi16(weigh(0), weigh(2)), _mm512_broadcast_i32x4(order))};
  } else {
    const __m128i order = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    return {_mm512_shuffle_epi8(weigh(0), _mm512_broadcast_i32x4(order))};
  }
}

// The bytes that four vectors of sums become, those of a lane side by side.
MVF_INLINE ByteVec PackLanes(IntVec a, IntVec b, IntVec c, IntVec d) {
  const __m512i packed = _mm512_packus_epi16(_mm512_packs_epi32(a.v, b.v), _mm512_packs_epi32(c.v, d.v));
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return {_mm512_shuffle_epi8(packed, _mm512_broadcast_i32x4(order))};
}

// The first n bytes (1 <= n <= kBytes) from memory, zeros behind them; and to memory.
MVF_INLINE __mmask64 FirstBytes(int64_t n) { return ~uint64_t{0} >> (ByteVec::kBytes - n); }
MVF_INLINE ByteVec LoadBytes(const uint8_t* p, int64_t n) {
  return {_mm512_maskz_loadu_epi8(FirstBytes(n), p)};
}
MVF_INLINE void StoreBytes(ByteVec bytes, uint8_t* p, int64_t n) {
  _mm512_mask_storeu_epi8(p, FirstBytes(n), bytes.v);
}

// rows[i] unit j <-> rows[j] unit i.
MVF_INLINE void TransposeUnits(ByteVec rows[Vec::kLanes]) {
  Vec units[Vec::kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < Vec::kLanes; ++i) units[i].v = _mm512_castsi512_ps(rows[i].v);
  Transpose(units);
#pragma GCC unroll 16
  for (int i = 0; i < Vec::kLanes; ++i) rows[i].v = _mm512_castps_si512(units[i].v);
}

// Bytes as the elements of a row that is multiplied.
template <class Dot>
MVF_INLINE void StoreElements(ByteVec bytes, typename Dot::Element* to) {
  if constexpr (sizeof(*to) == 1) {
    bytes.Store(to);
  } else {
    _mm512_storeu_si512(to, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(bytes.v)));
    _mm512_storeu_si512(to + 32, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(bytes.v, 1)));
  }
}

// Bytes, less 128, as units of a panel; where a unit holds two of a lane's four bytes, the others go `stride`
// slots behind.
template <class Dot>
MVF_INLINE void StoreSignedUnits(ByteVec bytes, typename Dot::Unit* to, int64_t stride) {
  const __m512i value = _mm512_xor_si512(bytes.v, _mm512_set1_epi8(-128));
  if constexpr (Dot::kUnit == 4) {
    _mm512_storeu_si512(to, value);
  } else {
    const __m512i odd = _mm512_srai_epi16(value, 8);
    const __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(value, 8), 8);
    // Words 0 and 2 are in `even`, 1 and 3 in `odd`.
    const __mmask32 upper = 0xaaaaaaaa;
    _mm512_storeu_si512(to, _mm512_mask_blend_epi16(upper, even, _mm512_slli_epi32(odd, 16)));
    _mm512_storeu_si512(to + stride, _mm512_mask_blend_epi16(upper, _mm512_srli_epi32(even, 16), odd));
  }
}

// Unit c: byte c, less 128, of each of `from`, for the first n (1 <= n <= kInterleaved) of them.
template <class Dot>
MVF_INLINE void StoreInterleaved(const uint8_t* const (&from)[Dot::kUnit], int64_t n,
                                 typename Dot::Unit* to) {
  const __mmask16 mask = static_cast<__mmask16>((1u << n) - 1);
  __m128i row[Dot::kUnit];
#pragma GCC unroll 4
  for (int i = 0; i < Dot::kUnit; ++i) {
    row[i] = _mm_xor_si128(_mm_maskz_loadu_epi8(mask, from[i]), _mm_set1_epi8(-128));
  }
  __m128i pairs[Dot::kUnit];  // of bytes: of rows 0 and 1, then of rows 2 and 3
#pragma GCC unroll 2
  for (int i = 0; i < Dot::kUnit; i += 2) {
    pairs[i] = _mm_unpacklo_epi8(row[i], row[i + 1]);
    pairs[i + 1] = _mm_unpackhi_epi8(row[i], row[i + 1]);
  }
  if constexpr (Dot::kUnit == 4) {
    __m128i* out = reinterpret_cast<__m128i*>(to);
    _mm_storeu_si128(out, _mm_unpacklo_epi16(pairs[0], pairs[2]));
    _mm_storeu_si128(out + 1, _mm_unpackhi_epi16(pairs[0], pairs[2]));
    _mm_storeu_si128(out + 2, _mm_unpacklo_epi16(pairs[1], pairs[3]));
    _mm_storeu_si128(out + 3, _mm_unpackhi_epi16(pairs[1], pairs[3]));
  } else {
    __m256i* out = reinterpret_cast<__m256i*>(to);
    _mm256_storeu_si256(out, _mm256_cvtepi8_epi16(pairs[0]));
    _mm256_storeu_si256(out + 1, _mm256_cvtepi8_epi16(pairs[1]));
  }
}

}  // namespace
}  // namespace mvf

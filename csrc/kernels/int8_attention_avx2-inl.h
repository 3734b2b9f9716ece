// What 8-bit attention needs of the vectors of AVX2.
#pragma once

#include "kernels/int8_exp2-inl.h"

namespace mvf {
namespace {

inline IntVec Max(IntVec a, IntVec b) { return {_mm256_max_epi32(a.v, b.v)}; }

// The weights of distances in 16 bits.
MVF_INLINE __m256i Int8Exp2(__m256i distances) {
  const __m256i fraction = _mm256_slli_epi16(distances, 16 - kDistanceBits);
  __m256i missing = _mm256_mulhi_epu16(fraction, _mm256_set1_epi16(kExp2Quadratic));
  missing = _mm256_mulhi_epu16(fraction, _mm256_sub_epi16(_mm256_set1_epi16(kExp2Linear), missing));
  const __m256i power = _mm256_xor_si256(missing, _mm256_set1_epi16(0x7fff));
  // There is no shift of each word by a count of its own: 2 * power is multiplied by 2^(15 - n), whose lower
  // byte is looked up at n and whose upper byte at n ^ 8.
  const __m256i n = _mm256_srli_epi16(distances, kDistanceBits);
  const __m256i at = _mm256_xor_si256(_mm256_or_si256(n, _mm256_slli_epi16(n, 8)), _mm256_set1_epi16(0x0800));
  const __m256i bytes = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, -128, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01));
  const __m256i shifted = _mm256_mulhi_epu16(_mm256_add_epi16(power, power), _mm256_shuffle_epi8(bytes, at));
  return _mm256_mulhrs_epi16(shifted, _mm256_set1_epi16(kLargestWeight));
}

// A unit of weights in each lane from the distances of its keys. A distance that 32 bits do not hold comes
// out of the rounding as the least integer.
template <class Dot>
MVF_INLINE IntVec WeightUnits(const Vec (&distance)[Dot::kUnit]) {
  const auto weigh = [&](int k) {
    const __m256i words = _mm256_packs_epi32(Round(distance[k]).v, Round(distance[k + 1]).v);
    return Int8Exp2(_mm256_min_epu16(words, _mm256_set1_epi16(kDistanceLimit)));
  };
  if constexpr (Dot::kUnit == 4) {
    const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m256i weights = _mm256_packus_epi16(weigh(0), weigh(2));
    return {_mm256_shuffle_epi8(weights, _mm256_broadcastsi128_si256(order))};
  } else {
    const __m128i order = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    return {_mm256_shuffle_epi8(weigh(0), _mm256_broadcastsi128_si256(order))};
  }
}

// The bytes that four vectors of sums become, those of a lane side by side.
MVF_INLINE ByteVec PackLanes(IntVec a, IntVec b, IntVec c, IntVec d) {
  const __m256i packed = _mm256_packus_epi16(_mm256_packs_epi32(a.v, b.v), _mm256_packs_epi32(c.v, d.v));
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return {_mm256_shuffle_epi8(packed, _mm256_broadcastsi128_si256(order))};
}

// The first n bytes (0 <= n <= 8), zeros behind them, read twice where two reads of a power of two overlap.
MVF_INLINE uint64_t LoadUpToEight(const uint8_t* p, int64_t n) {
  uint64_t bytes = 0;
  if (n >= 8) {
    __builtin_memcpy(&bytes, p, 8);
  } else if (n >= 4) {
    uint32_t first, last;
    __builtin_memcpy(&first, p, 4);
    __builtin_memcpy(&last, p + n - 4, 4);
    bytes = first | uint64_t{last} << 8 * (n - 4);
  } else {
    for (int64_t i = 0; i < n; ++i) bytes |= uint64_t{p[i]} << 8 * i;
  }
  return bytes;
}
MVF_INLINE __m128i LoadUpToSixteen(const uint8_t* p, int64_t n) {
  if (n >= 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const uint64_t low = LoadUpToEight(p, n), high = n > 8 ? LoadUpToEight(p + 8, n - 8) : 0;
  return _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low));
}

// The first n bytes (1 <= n <= kBytes) from memory, zeros behind them; and to memory.
MVF_INLINE ByteVec LoadBytes(const uint8_t* p, int64_t n) {
  if (n >= ByteVec::kBytes) return ByteVec::Load(p);
  const __m128i high = n > 16 ? LoadUpToSixteen(p + 16, n - 16) : _mm_setzero_si128();
  return {_mm256_set_m128i(high, LoadUpToSixteen(p, n))};
}
MVF_INLINE void StoreBytes(ByteVec bytes, uint8_t* p, int64_t n) {
  if (n >= ByteVec::kBytes) return bytes.Store(p);
  uint8_t all[ByteVec::kBytes];
  bytes.Store(all);
  __builtin_memcpy(p, all, static_cast<size_t>(n));
}

// rows[i] unit j <-> rows[j] unit i.
MVF_INLINE void TransposeUnits(ByteVec rows[Vec::kLanes]) {
  Vec units[Vec::kLanes];
#pragma GCC unroll 8
  for (int i = 0; i < Vec::kLanes; ++i) units[i].v = _mm256_castsi256_ps(rows[i].v);
  Transpose(units);
#pragma GCC unroll 8
  for (int i = 0; i < Vec::kLanes; ++i) rows[i].v = _mm256_castps_si256(units[i].v);
}

MVF_INLINE void StoreInts(__m256i value, void* to) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }

// Bytes as the elements of a row that is multiplied.
template <class Dot>
MVF_INLINE void StoreElements(ByteVec bytes, typename Dot::Element* to) {
  if constexpr (sizeof(*to) == 1) {
    bytes.Store(to);
  } else {
    StoreInts(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(bytes.v)), to);
    StoreInts(_mm256_cvtepu8_epi16(_mm256_extracti128_si256(bytes.v, 1)), to + 16);
  }
}

// Bytes, less 128, as units of a panel; where a unit holds two of a lane's four bytes, the others go `stride`
// slots behind.
template <class Dot>
MVF_INLINE void StoreSignedUnits(ByteVec bytes, typename Dot::Unit* to, int64_t stride) {
  const __m256i value = _mm256_xor_si256(bytes.v, _mm256_set1_epi8(-128));
  if constexpr (Dot::kUnit == 4) {
    StoreInts(value, to);
  } else {
    const __m256i odd = _mm256_srai_epi16(value, 8);
    const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(value, 8), 8);
    // Words 0 and 2 are in `even`, 1 and 3 in `odd`.
    StoreInts(_mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xaa), to);
    StoreInts(_mm256_blend_epi16(_mm256_srli_epi32(even, 16), odd, 0xaa), to + stride);
  }
}

// Unit c: byte c, less 128, of each of `from`, for the first n (1 <= n <= kInterleaved) of them.
template <class Dot>
MVF_INLINE void StoreInterleaved(const uint8_t* const (&from)[Dot::kUnit], int64_t n,
                                 typename Dot::Unit* to) {
  __m128i row[Dot::kUnit];
#pragma GCC unroll 4
  for (int i = 0; i < Dot::kUnit; ++i) {
    row[i] = _mm_xor_si128(LoadUpToSixteen(from[i], n), _mm_set1_epi8(-128));
  }
  __m128i pairs[Dot::kUnit];  // of bytes: of rows 0 and 1, then of rows 2 and 3
#pragma GCC unroll 2
  for (int i = 0; i < Dot::kUnit; i += 2) {
    pairs[i] = _mm_unpacklo_epi8(row[i], row[i + 1]);
    pairs[i + 1] = _mm_unpackhi_epi8(row[i], row[i + 1]);
  }
  if constexpr (Dot::kUnit == 4) {
    StoreInts(
        _mm256_set_m128i(_mm_unpackhi_epi16(pairs[0], pairs[2]), _mm_unpacklo_epi16(pairs[0], pairs[2])), to);
    StoreInts(
        _mm256_set_m128i(_mm_unpackhi_epi16(pairs[1], pairs[3]), _mm_unpacklo_epi16(pairs[1], pairs[3])),
        to + 8);
  } else {
    StoreInts(_mm256_cvtepi8_epi16(pairs[0]), to);
    StoreInts(_mm256_cvtepi8_epi16(pairs[1]), to + 8);
  }
}

}  // namespace
}  // namespace mvf

// Integer vectors of AVX-512: sixteen sums, sixty-four bytes.
#pragma once

namespace mvf {
namespace {

struct IntVec {
  __m512i v;

  static IntVec Set(int32_t x) { return {_mm512_set1_epi32(x)}; }
  static IntVec Load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  static IntVec LoadAgain(const int32_t* p) { return Load(p); }
  void Store(int32_t* p) const { _mm512_storeu_si512(p, v); }
  void StorePartial(int32_t* p, int n) const {
    _mm512_mask_storeu_epi32(p, static_cast<__mmask16>((1u << n) - 1), v);
  }
};

inline IntVec Sub(IntVec a, IntVec b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline IntVec Mul(IntVec a, IntVec b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
inline Vec ToFloat(IntVec a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline Vec BitsAsFloat(IntVec a) { return {_mm512_castsi512_ps(a.v)}; }
inline IntVec Round(Vec a) { return {_mm512_cvtps_epi32(a.v)}; }
// To the nearest and at most 255, which a NaN becomes, too; what is below 0 is left to packing.
inline IntVec RoundToByte(Vec a) { return Round(Min(a, Vec::Set(255.0f))); }
inline Vec FusedMulAdd(Vec a, Vec b, Vec c) { return MulAdd(a, b, c); }
inline Vec FusedMulAdd(Vec a, Vec b, const float* c) { return MulAdd(a, b, Vec::Load(c)); }

// GCC spills accumulators inside the loop over K unless each is named after it.
MVF_INLINE void Pin(IntVec& sum) { asm volatile("" : "+v"(sum.v)); }

// Four vectors of sums as bytes, in order; a quarter holds what one of them became. In blocks of four
// channels each block holds what became of its channels in every vector: as the instructions pack them.
struct ByteVec {
  static constexpr int kBytes = 64;
  __m512i v;

  static MVF_INLINE ByteVec PackBlocks(IntVec a, IntVec b, IntVec c, IntVec d) {
    const __m512i words_ab = _mm512_packs_epi32(a.v, b.v), words_cd = _mm512_packs_epi32(c.v, d.v);
    return {_mm512_packus_epi16(words_ab, words_cd)};
  }
  MVF_INLINE ByteVec BlocksInOrder() const {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return {_mm512_permutexvar_epi32(order, v)};
  }
  MVF_INLINE ByteVec OrderedToBlocks() const { return BlocksInOrder(); }  // a transposition of four by four
  static MVF_INLINE ByteVec Pack(IntVec a, IntVec b, IntVec c, IntVec d) {
    return PackBlocks(a, b, c, d).BlocksInOrder();
  }
  static ByteVec Load(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
  void Store(uint8_t* p) const { _mm512_storeu_si512(p, v); }
  // Quarters that lie `stride` apart.
  static MVF_INLINE ByteVec LoadQuarters(const uint8_t* p, int64_t stride) {
    const auto quarter = [&](int i) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * stride));
    };
    __m512i v = _mm512_inserti32x4(_mm512_castsi128_si512(quarter(0)), quarter(1), 1);
    v = _mm512_inserti32x4(v, quarter(2), 2);
    return {_mm512_inserti32x4(v, quarter(3), 3)};
  }

  // kCount quarters from kFirst on.
  template <int kFirst, int kCount>
  MVF_INLINE void StoreQuarters(uint8_t* p) const {
    if constexpr (kCount == 4) {
      _mm512_storeu_si512(p, v);
    } else if constexpr (kCount == 1) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_extracti32x4_epi32(v, kFirst));
    } else if constexpr (kFirst % 2 == 0) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_extracti64x4_epi64(v, kFirst / 2));
      if constexpr (kCount == 3) StoreQuarters<kFirst + 2, 1>(p + 32);
    } else {
      StoreQuarters<kFirst, 1>(p);
      StoreQuarters<kFirst + 1, kCount - 1>(p + 16);
    }
  }
  // The first n bytes (1 <= n <= 16) of a quarter.
  template <int kQuarter>
  MVF_INLINE void StorePartial(uint8_t* p, int n) const {
    _mm_mask_storeu_epi8(p, static_cast<__mmask16>((1u << n) - 1), _mm512_extracti32x4_epi32(v, kQuarter));
  }
};

}  // namespace
}  // namespace mvf

// Integer vectors of AVX2: eight sums, thirty-two bytes; its byte table.
#pragma once

namespace mvf {
namespace {

struct IntVec {
  __m256i v;

  static IntVec Set(int32_t x) { return {_mm256_set1_epi32(x)}; }
  static IntVec Load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static IntVec LoadAgain(const int32_t* p) { return Load(p); }
  void Store(int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  void StorePartial(int32_t* p, int n) const {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_epi32(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane), v);
  }
};

inline IntVec Sub(IntVec a, IntVec b) { return {_mm256_sub_epi32(a.v, b.v)}; }
inline IntVec Mul(IntVec a, IntVec b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
inline Vec ToFloat(IntVec a) { return {_mm256_cvtepi32_ps(a.v)}; }
inline Vec BitsAsFloat(IntVec a) { return {_mm256_castsi256_ps(a.v)}; }
inline IntVec Round(Vec a) { return {_mm256_cvtps_epi32(a.v)}; }
// To the nearest and at most 255, which a NaN becomes, too; what is below 0 is left to packing.
inline IntVec RoundToByte(Vec a) { return Round(Min(a, Vec::Set(255.0f))); }
inline Vec FusedMulAdd(Vec a, Vec b, Vec c) { return MulAdd(a, b, c); }
inline Vec FusedMulAdd(Vec a, Vec b, const float* c) { return MulAdd(a, b, Vec::Load(c)); }

// GCC spills accumulators inside the loop over K unless each is named after it.
MVF_INLINE void Pin(IntVec& sum) { asm volatile("" : "+x"(sum.v)); }

// Four vectors of sums as bytes, in order; a quarter holds what one of them became. In blocks of four
// channels each block holds what became of its channels in every vector: as the instructions pack them.
struct ByteVec {
  static constexpr int kBytes = 32;
  __m256i v;

  static MVF_INLINE ByteVec PackBlocks(IntVec a, IntVec b, IntVec c, IntVec d) {
    const __m256i words_ab = _mm256_packs_epi32(a.v, b.v), words_cd = _mm256_packs_epi32(c.v, d.v);
    return {_mm256_packus_epi16(words_ab, words_cd)};
  }
  MVF_INLINE ByteVec BlocksInOrder() const {
    return {_mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))};
  }
  MVF_INLINE ByteVec OrderedToBlocks() const {
    return {_mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7))};
  }
  static MVF_INLINE ByteVec Pack(IntVec a, IntVec b, IntVec c, IntVec d) {
    return PackBlocks(a, b, c, d).BlocksInOrder();
  }
  static ByteVec Load(const uint8_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  void Store(uint8_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  // Quarters that lie `stride` apart.
  static MVF_INLINE ByteVec LoadQuarters(const uint8_t* p, int64_t stride) {
    const auto quarter = [&](int i) {
      return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + i * stride));
    };
    const __m128i low = _mm_unpacklo_epi64(quarter(0), quarter(1));
    return {
        _mm256_inserti128_si256(_mm256_castsi128_si256(low), _mm_unpacklo_epi64(quarter(2), quarter(3)), 1)};
  }

  // kCount quarters from kFirst on.
  template <int kFirst, int kCount>
  MVF_INLINE void StoreQuarters(uint8_t* p) const {
    if constexpr (kCount == 4) {
      Store(p);
    } else if constexpr (kCount == 1) {
      const int64_t bytes = _mm256_extract_epi64(v, kFirst);
      __builtin_memcpy(p, &bytes, sizeof(bytes));
    } else if constexpr (kFirst % 2 == 0) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_extracti128_si256(v, kFirst / 2));
      if constexpr (kCount == 3) StoreQuarters<kFirst + 2, 1>(p + 16);
    } else {
      StoreQuarters<kFirst, 1>(p);
      StoreQuarters<kFirst + 1, kCount - 1>(p + 8);
    }
  }
  // The first n bytes (1 <= n <= 8) of a quarter.
  template <int kQuarter>
  MVF_INLINE void StorePartial(uint8_t* p, int n) const {
    uint64_t bytes = static_cast<uint64_t>(_mm256_extract_epi64(v, kQuarter));
    for (int i = 0; i < n; ++i, bytes >>= 8) p[i] = static_cast<uint8_t>(bytes);
  }
};

// table[byte] for each byte of a vector: sixteen shuffles, one for each value of the upper half of a byte,
// and a tree of blends over that half's bits.
struct ByteTable {
  const uint8_t* table;

  static void Pack(const uint8_t* table, uint8_t* packed) { __builtin_memcpy(packed, table, 256); }
  explicit ByteTable(const uint8_t* bytes) : table(bytes) {}
  // A call: inlined, it would take registers from the loop over K.
  __attribute__((noinline)) ByteVec operator()(ByteVec x) const {
    const __m256i lower = _mm256_and_si256(x.v, _mm256_set1_epi8(0x0f));
    const __m256i bit4 = _mm256_slli_epi16(x.v, 3), bit5 = _mm256_slli_epi16(x.v, 2),
                  bit6 = _mm256_slli_epi16(x.v, 1);
    __m256i half[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      __m256i quarter[2];
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        __m256i eighth[2];
#pragma GCC unroll 2
        for (int k = 0; k < 2; ++k) {
          const uint8_t* rows = table + 128 * i + 64 * j + 32 * k;
          eighth[k] = _mm256_blendv_epi8(Shuffle(rows, lower), Shuffle(rows + 16, lower), bit4);
        }
        quarter[j] = _mm256_blendv_epi8(eighth[0], eighth[1], bit5);
      }
      half[i] = _mm256_blendv_epi8(quarter[0], quarter[1], bit6);
    }
    return {_mm256_blendv_epi8(half[0], half[1], x.v)};
  }

 private:
  static MVF_INLINE __m256i Shuffle(const uint8_t* row, __m256i lower) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), lower);
  }
};

}  // namespace
}  // namespace mvf

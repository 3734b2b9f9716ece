// The 8-bit dot policy of AVX2 alone.
#pragma once

namespace mvf {
namespace {

struct Int8Dot : WordDot {
  static MVF_INLINE IntVec Broadcast(const Unit* p) {
    int32_t unit;
    __builtin_memcpy(&unit, p, sizeof(unit));  // it was written as two words
    return {_mm256_set1_epi32(unit)};
  }
  static MVF_INLINE IntVec LoadPanel(const Unit* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(a.v, b.v))};
  }
  // kWidened bytes to words.
  static constexpr int kWidened = 16;
  static MVF_INLINE void Widen(const uint8_t* from, int16_t* to) {
    const __m256i words = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), words);
  }
  static MVF_INLINE void StoreElements(ByteVec ordered, Element* to) {
    __m256i* const vectors = reinterpret_cast<__m256i*>(to);
    _mm256_storeu_si256(vectors, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(ordered.v)));
    _mm256_storeu_si256(vectors + 1, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(ordered.v, 1)));
  }
  // Four pixels, in blocks, as units of pixels: the first two of each channel, then the others.
  static MVF_INLINE void StorePixels(ByteVec blocks, Element* to) {
    const __m256i first = _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1,  //
                                           0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1);
    const __m256i others = _mm256_setr_epi8(8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1,  //
                                            8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_shuffle_epi8(blocks.v, first));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to) + 1, _mm256_shuffle_epi8(blocks.v, others));
  }
};

}  // namespace
}  // namespace mvf

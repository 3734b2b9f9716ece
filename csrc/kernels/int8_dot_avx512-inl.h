// The 8-bit dot policy of AVX-512 without VNNI.
#pragma once

namespace mvf {
namespace {

struct Int8Dot : WordDot {
  static MVF_INLINE IntVec Broadcast(const Unit* p) {
    int32_t unit;
    __builtin_memcpy(&unit, p, sizeof(unit));  // it was written as two words
    return {_mm512_set1_epi32(unit)};
  }
  static MVF_INLINE IntVec LoadPanel(const Unit* p) { return {_mm512_loadu_si512(p)}; }
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(a.v, b.v))};
  }
  // kWidened bytes to words.
  static constexpr int kWidened = 32;
  static MVF_INLINE void Widen(const uint8_t* from, int16_t* to) {
    _mm512_storeu_si512(to, _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
  }
  static MVF_INLINE void StoreElements(ByteVec ordered, Element* to) {
    _mm512_storeu_si512(to, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(ordered.v)));
    _mm512_storeu_si512(to + kWidened, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(ordered.v, 1)));
  }
  // Four pixels, in blocks, as units of pixels: the first two of each channel, then the others.
  static MVF_INLINE void StorePixels(ByteVec blocks, Element* to) {
    const __m128i first = _mm_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1);
    const __m128i others = _mm_setr_epi8(8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1);
    _mm512_storeu_si512(to, _mm512_shuffle_epi8(blocks.v, _mm512_broadcast_i32x4(first)));
    _mm512_storeu_si512(to + kWidened, _mm512_shuffle_epi8(blocks.v, _mm512_broadcast_i32x4(others)));
  }
};

}  // namespace
}  // namespace mvf

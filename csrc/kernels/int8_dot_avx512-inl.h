// The 8-bit dot policy of AVX-512 without VNNI, and a byte table without VBMI.
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
  // Four pixels, in blocks, as units of pixels: the first two of each channel, then the others.
  static MVF_INLINE void StorePixels(ByteVec blocks, Element* to) {
    const __m128i first = _mm_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1);
    const __m128i others = _mm_setr_epi8(8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1);
    _mm512_storeu_si512(to, _mm512_shuffle_epi8(blocks.v, _mm512_broadcast_i32x4(first)));
    _mm512_storeu_si512(to + kWidened, _mm512_shuffle_epi8(blocks.v, _mm512_broadcast_i32x4(others)));
  }
};

// table[byte] for each byte of a vector: sixteen shuffles, one for each value of the upper half of a byte.
struct ByteTable {
  const uint8_t* table;

  explicit ByteTable(const uint8_t* bytes) : table(bytes) {}
  MVF_INLINE ByteVec operator()(ByteVec x) const {
    const __m512i upper = _mm512_and_si512(x.v, _mm512_set1_epi8(static_cast<char>(0xf0)));
    const __m512i lower = _mm512_and_si512(x.v, _mm512_set1_epi8(0x0f));
    __m512i result = _mm512_setzero_si512();
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const __m512i row =
          _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table + 16 * i)));
      const __mmask64 here = _mm512_cmpeq_epi8_mask(upper, _mm512_set1_epi8(static_cast<char>(16 * i)));
      result = _mm512_mask_shuffle_epi8(result, here, row, lower);
    }
    return {result};
  }
};

}  // namespace
}  // namespace mvf

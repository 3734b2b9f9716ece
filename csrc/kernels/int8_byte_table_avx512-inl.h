// The byte table of AVX-512 without VBMI.
#pragma once

namespace mvf {
namespace {

// table[byte] for each byte of a vector, by shuffles of sixteen rows by the lower half of a byte. For each
// value of the two uppermost bits, what bits 4 and 5 choose among four rows is an exclusive or of packed
// rows, of which the shuffle leaves out those whose bits are not set: it gives zero where an index has its
// uppermost bit.
struct ByteTable {
  static constexpr int kRow = 16;
  static constexpr int kGroup = 4 * kRow;
  const uint8_t* rows;

  static void Pack(const uint8_t* table, uint8_t* rows) {
    for (int group = 0; group < 256; group += kGroup) {
      for (int i = group; i < group + kRow; ++i) {
        const uint8_t none = table[i], bit4 = table[i + kRow], bit5 = table[i + 2 * kRow],
                      both = table[i + 3 * kRow];
        rows[i] = none;
        rows[i + kRow] = static_cast<uint8_t>(none ^ bit4);
        rows[i + 2 * kRow] = static_cast<uint8_t>(none ^ bit5);
        rows[i + 3 * kRow] = static_cast<uint8_t>(none ^ bit4 ^ bit5 ^ both);
      }
    }
  }
  explicit ByteTable(const uint8_t* packed) : rows(packed) {}
  MVF_INLINE ByteVec operator()(ByteVec x) const {
    const __m512i top = _mm512_set1_epi8(static_cast<char>(0x80));
    const __mmask64 bit6 = _mm512_movepi8_mask(_mm512_slli_epi16(x.v, 1)), bit7 = _mm512_movepi8_mask(x.v);
    const __m512i any = _mm512_and_si512(x.v, _mm512_set1_epi8(0x0f));
    const __m512i with4 = _mm512_or_si512(any, _mm512_andnot_si512(_mm512_slli_epi16(x.v, 3), top));
    const __m512i with5 = _mm512_or_si512(any, _mm512_andnot_si512(_mm512_slli_epi16(x.v, 2), top));
    const __m512i index[4] = {any, with4, with5, _mm512_or_si512(with4, with5)};
    __m512i half[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const uint8_t* const from = rows + 2 * kGroup * i;
      half[i] = _mm512_mask_mov_epi8(Choose(from, index), bit6, Choose(from + kGroup, index));
    }
    return {_mm512_mask_mov_epi8(half[0], bit7, half[1])};
  }

 private:
  static MVF_INLINE __m512i Choose(const uint8_t* group, const __m512i (&index)[4]) {
    __m512i result = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m128i row = _mm_loadu_si128(reinterpret_cast<const __m128i*>(group + kRow * i));
      result = _mm512_xor_si512(result, _mm512_shuffle_epi8(_mm512_broadcast_i32x4(row), index[i]));
    }
    return result;
  }
};

}  // namespace
}  // namespace mvf

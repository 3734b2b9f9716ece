// The byte table of AVX-512 VBMI.
#pragma once

namespace mvf {
namespace {

// table[byte] for each byte of a vector.
struct ByteTable {
  __m512i part[4];

  static void Pack(const uint8_t* table, uint8_t* packed) { __builtin_memcpy(packed, table, 256); }
  explicit ByteTable(const uint8_t* table) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) part[i] = _mm512_loadu_si512(table + 64 * i);
  }
  MVF_INLINE ByteVec operator()(ByteVec x) const {
    const __m512i low = _mm512_permutex2var_epi8(part[0], x.v, part[1]);
    const __m512i high = _mm512_permutex2var_epi8(part[2], x.v, part[3]);
    return {_mm512_mask_mov_epi8(low, _mm512_movepi8_mask(x.v), high)};
  }
};

}  // namespace
}  // namespace mvf

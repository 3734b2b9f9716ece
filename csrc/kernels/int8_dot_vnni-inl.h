// The 8-bit dot policy of AVX-512 VNNI (vpdpbusd: four unsigned bytes times four signed ones), and the byte
// table of VBMI.
#pragma once

namespace mvf {
namespace {

struct Int8Dot {
  using Element = uint8_t;  // of rows that are multiplied
  using Unit = uint32_t;
  static constexpr int kUnit = 4;
  static MVF_INLINE IntVec Broadcast(const Unit* p) {
    int32_t unit;
    __builtin_memcpy(&unit, p,
                     sizeof(unit));  // rows of bytes may start anywhere
    return {_mm512_set1_epi32(unit)};
  }
  static MVF_INLINE IntVec LoadPanel(const Unit* p) { return {_mm512_loadu_si512(p)}; }
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    return {_mm512_dpbusd_epi32(sum.v, a.v, b.v)};
  }
  static Unit PackUnit(const int8_t* k, int64_t valid) {
    Unit unit = 0;
    __builtin_memcpy(&unit, k, static_cast<size_t>(valid < kUnit ? valid : kUnit));
    return unit;
  }

  static MVF_INLINE void StoreElements(ByteVec ordered, Element* to) { ordered.Store(to); }
  // Four pixels, in blocks, as units of pixels: one for each channel.
  static MVF_INLINE void StorePixels(ByteVec blocks, Element* to) {
    const __m128i transposed = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(to, _mm512_shuffle_epi8(blocks.v, _mm512_broadcast_i32x4(transposed)));
  }
  // Units of pixels, a pixel earlier or later than `middle`.
  static MVF_INLINE IntVec PixelBefore(IntVec before, IntVec middle) {
    return {_mm512_shldi_epi32(middle.v, before.v, 8)};
  }
  static MVF_INLINE IntVec PixelAfter(IntVec middle, IntVec after) {
    return {_mm512_shrdi_epi32(middle.v, after.v, 8)};
  }
};

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

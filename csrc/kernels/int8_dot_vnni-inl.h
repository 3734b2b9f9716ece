// The 8-bit dot policy of AVX-512 VNNI: vpdpbusd, four unsigned bytes times four signed ones.
#pragma once

#include "kernels/int8_byte_units-inl.h"

namespace mvf {
namespace {

struct Int8Dot : ByteUnits {
  static MVF_INLINE IntVec Broadcast(const Unit* p) { return {_mm512_set1_epi32(Read(p))}; }
  static MVF_INLINE IntVec LoadPanel(const Unit* p) { return {_mm512_loadu_si512(p)}; }
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    return {_mm512_dpbusd_epi32(sum.v, a.v, b.v)};
  }

  static MVF_INLINE void StoreElements(ByteVec ordered, Element* to) { ordered.Store(to); }
  // Four pixels, in blocks, as units of pixels: one for each channel.
  static MVF_INLINE void StorePixels(ByteVec blocks, Element* to) {
    const __m128i transposed = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(to, _mm512_shuffle_epi8(blocks.v, _mm512_broadcast_i32x4(transposed)));
  }
  // Units of pixels, a pixel earlier or later than `middle`.
#if defined(__AVX512VBMI2__)
  static MVF_INLINE IntVec PixelBefore(IntVec before, IntVec middle) {
    return {_mm512_shldi_epi32(middle.v, before.v, 8)};
  }
  static MVF_INLINE IntVec PixelAfter(IntVec middle, IntVec after) {
    return {_mm512_shrdi_epi32(middle.v, after.v, 8)};
  }
#else
  static MVF_INLINE IntVec PixelBefore(IntVec before, IntVec middle) {
    return {_mm512_or_si512(_mm512_slli_epi32(middle.v, 8), _mm512_srli_epi32(before.v, 24))};
  }
  static MVF_INLINE IntVec PixelAfter(IntVec middle, IntVec after) {
    return {_mm512_or_si512(_mm512_srli_epi32(middle.v, 8), _mm512_slli_epi32(after.v, 24))};
  }
#endif
};

}  // namespace
}  // namespace mvf

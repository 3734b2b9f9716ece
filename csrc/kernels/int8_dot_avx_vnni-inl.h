// The 8-bit dot policy of AVX-VNNI: vpdpbusd, four unsigned bytes times four signed ones, on vectors of AVX2.
#pragma once

#include "kernels/int8_byte_units-inl.h"

namespace mvf {
namespace {

struct Int8Dot : ByteUnits {
  static MVF_INLINE IntVec Broadcast(const Unit* p) { return {_mm256_set1_epi32(Read(p))}; }
  static MVF_INLINE IntVec LoadPanel(const Unit* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    return {_mm256_dpbusd_avx_epi32(sum.v, a.v, b.v)};
  }

  static MVF_INLINE void StoreElements(ByteVec ordered, Element* to) { ordered.Store(to); }
  // Four pixels, in blocks, as units of pixels: one for each channel.
  static MVF_INLINE void StorePixels(ByteVec blocks, Element* to) {
    const __m128i transposed = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    ByteVec{_mm256_shuffle_epi8(blocks.v, _mm256_broadcastsi128_si256(transposed))}.Store(to);
  }
  // Units of pixels, a pixel earlier or later than `middle`.
  static MVF_INLINE IntVec PixelBefore(IntVec before, IntVec middle) {
    return {_mm256_or_si256(_mm256_slli_epi32(middle.v, 8), _mm256_srli_epi32(before.v, 24))};
  }
  static MVF_INLINE IntVec PixelAfter(IntVec middle, IntVec after) {
    return {_mm256_or_si256(_mm256_srli_epi32(middle.v, 8), _mm256_slli_epi32(after.v, 24))};
  }
};

}  // namespace
}  // namespace mvf

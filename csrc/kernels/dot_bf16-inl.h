// The bfloat16 dot policy (vdpbf16ps): a unit is two neighbours along K, products are summed in float.
#pragma once

namespace mvf {
namespace {

struct DotBf16 {
  using Image = DotF32;  // three channels fill no unit of two, and the image keeps its digits
  using Element = Bf16;
  using Unit = uint32_t;
  static constexpr int kUnit = 2;
  static MVF_INLINE Vec Broadcast(const Unit* p) {
    return {_mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(*p)))};
  }
  static MVF_INLINE Vec LoadPanel(const Unit* p) { return {_mm512_loadu_ps(p)}; }
  static MVF_INLINE Vec MulAdd(Vec a, Vec b, Vec sum) {
    return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
  }
  static MVF_INLINE void StoreUnits(const Vec* elements, Unit* to) {
    const __m512i low = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(elements[0].v)));
    const __m512i high = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(elements[1].v)));
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
  static Unit PackUnit(const float* k, int64_t valid) {
    const Unit low = valid > 0 ? Round(k[0]) : 0;
    return valid > 1 ? low | Round(k[1]) << 16 : low;
  }

 private:
  // Nearest even; weights are finite.
  static Unit Round(float x) {
    Unit bits;
    __builtin_memcpy(&bits, &x, sizeof(bits));
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  }
};

}  // namespace
}  // namespace mvf

// The half-precision dot policy (fmla on eight halves): units are halves, and so are sums, which is why long
// ones are made of short runs.
#pragma once

namespace mvf {
namespace {

struct DotF16 {
  using Image = DotF16;
  using Element = Half;
  using Unit = Half;
  static constexpr int kUnit = 1;
  static MVF_INLINE Vec Broadcast(const Unit* p) { return {vreinterpretq_f16_u16(vld1q_dup_u16(&p->bits))}; }
  static MVF_INLINE Vec LoadPanel(const Unit* p) { return Vec::Load(p); }
  static MVF_INLINE Vec MulAdd(Vec a, Vec b, Vec sum) { return mvf::MulAdd(a, b, sum); }
  static MVF_INLINE void StoreUnits(const Vec* elements, Unit* to) { elements[0].Store(to); }
  static Unit PackUnit(const float* k, int64_t valid) { return ToLane(valid > 0 ? *k : 0.0f); }
};

template <>
constexpr int64_t kRun<DotF16> = 96;

template <>
constexpr bool kIsCompact<DotF16> = true;

template <>
struct RowUnits<DotF16> {
  static constexpr int kUnits = 4;
  static MVF_INLINE Vec Load(const Half* p) {
    return {vreinterpretq_f16_u16(vcombine_u16(vld1_u16(&p->bits), vdup_n_u16(0)))};
  }
  static MVF_INLINE Vec LoadColumns(const Half* p) { return {LoadHere<float16x8_t>(p)}; }
  template <int kLane>
  static MVF_INLINE Vec MulAddLane(Vec row, Vec column, Vec sum) {
    // For the intrinsic, GCC 12 duplicates the lane first. Lanes are those of the first sixteen registers.
    asm volatile("fmla %0.8h, %1.8h, %2.h[%3]" : "+w"(sum.v) : "w"(column.v), "x"(row.v), "i"(kLane));
    return sum;
  }
  static MVF_INLINE Vec Broadcast(const Half* p) { return DotF16::Broadcast(p); }
  static MVF_INLINE Vec LoadPanel(const Half* p) { return DotF16::LoadPanel(p); }
  static MVF_INLINE Vec MulAdd(Vec row, Vec column, Vec sum) { return DotF16::MulAdd(row, column, sum); }
};

}  // namespace
}  // namespace mvf

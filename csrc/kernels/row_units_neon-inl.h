// Rows of floats by lanes: a broadcast costs NEON a multiplication's place, a lane nothing.
#pragma once

namespace mvf {
namespace {

template <>
struct RowUnits<DotF32> {
  static constexpr int kUnits = Vec::kLanes;
  static MVF_INLINE Vec Load(const float* p) { return Vec::Load(p); }
  static MVF_INLINE Vec LoadColumns(const float* p) { return Vec::Load(p); }
  template <int kLane>
  static MVF_INLINE Vec MulAddLane(Vec row, Vec column, Vec sum) {
    return {vfmaq_laneq_f32(sum.v, column.v, row.v, kLane)};
  }
  static MVF_INLINE Vec Broadcast(const float* p) { return DotF32::Broadcast(p); }
  static MVF_INLINE Vec LoadPanel(const float* p) { return DotF32::LoadPanel(p); }
  static MVF_INLINE Vec MulAdd(Vec row, Vec column, Vec sum) { return DotF32::MulAdd(row, column, sum); }
};

}  // namespace
}  // namespace mvf

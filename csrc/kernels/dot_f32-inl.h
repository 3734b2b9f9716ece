// The float dot policy: how a micro-kernel reads one unit of K and multiplies it in.
#pragma once

namespace mvf {
namespace {

struct DotF32 {
  using Element = float;           // of maps
  using Unit = float;              // what one multiply-add consumes along K
  static constexpr int kUnit = 1;  // elements in a unit
  static MVF_INLINE Vec Broadcast(const Unit* p) { return Vec::Set(*p); }
  static MVF_INLINE Vec LoadPanel(const Unit* p) { return Vec::Load(p); }
  static MVF_INLINE Vec MulAdd(Vec a, Vec b, Vec sum) { return mvf::MulAdd(a, b, sum); }
  // A vector of units, from kUnit vectors of their elements.
  static MVF_INLINE void StoreUnits(const Vec* elements, Unit* to) { elements[0].Store(to); }
  static Unit PackUnit(const float* k, int64_t valid) { return valid > 0 ? *k : 0.0f; }
};

// How a micro-kernel reads the units of a row: one at a time, for all lanes. Where vectors multiply by a lane
// of another, a specialisation reads kUnits at once, by Load, and multiplies by MulAddLane<lane>.
template <class Dot>
struct RowUnits {
  static constexpr int kUnits = 1;
  static constexpr int kOffset = 0;  // what it takes bytes less
  static MVF_INLINE auto Broadcast(const typename Dot::Unit* p) { return Dot::Broadcast(p); }
  template <class Sum>
  static MVF_INLINE Sum MulAdd(Sum row, Sum column, Sum sum) {
    return Dot::MulAdd(row, column, sum);
  }
};

}  // namespace
}  // namespace mvf

// The float dot policy: how a micro-kernel reads one unit of K and multiplies it in.
#pragma once

#include "kernels/row_units-inl.h"

namespace mvf {
namespace {

struct DotF32 {
  using Image = DotF32;            // what multiplies the image
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

}  // namespace
}  // namespace mvf

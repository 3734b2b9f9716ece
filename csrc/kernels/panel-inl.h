// Weight panels: a [columns][K] matrix cut into groups of one to three vectors of columns, so that a
// micro-kernel streams its panel from front to back. A panel is its bias followed by K rows of columns;
// missing columns are zeros.
#pragma once

namespace mvf {
namespace {

constexpr int kMaxPanelVectors = 3;

// Vectors in the next panel when `remaining` vectors of columns are left: threes, but no panel of one (it
// would starve the multipliers) where two twos do.
constexpr int PanelVectors(int64_t remaining) {
  if (remaining == 1) return 1;
  return remaining == 2 || remaining == 4 ? 2 : 3;
}

constexpr int64_t ColumnVectors(int64_t columns) { return CeilDiv(columns, Vec::kLanes); }

template <class Dot>
constexpr int64_t Units(int64_t k) {
  return CeilDiv(k, Dot::kUnit);
}

// Slots (of four bytes) of all panels of a [columns][segments * units] matrix.
constexpr int64_t PanelSlots(int64_t columns, int64_t total_units) {
  return ColumnVectors(columns) * Vec::kLanes * (1 + total_units);
}

// Walks the panels: `visit(vectors, first_column, first_slot)`.
template <class Visit>
MVF_INLINE void ForEachPanel(int64_t columns, int64_t total_units, Visit visit) {
  int64_t column = 0, slot = 0;
  for (int64_t left = ColumnVectors(columns); left > 0;) {
    const int vectors = PanelVectors(left);
    visit(vectors, column, slot);
    column += vectors * Vec::kLanes;
    slot += vectors * Vec::kLanes * (1 + total_units);
    left -= vectors;
  }
}

// What weights and biases are multiplied by on their way into the panels.
struct PanelScale {
  float weight = 1.0f;
  float bias = 1.0f;
};

// Packs weight(column, segment) -> pointer to that segment's K values. Each segment is padded to whole units.
template <class Dot, class Weight>
void PackPanels(int64_t columns, int64_t segments, int64_t k, Weight weight, const float* bias, void* packed,
                PanelScale scale = {}) {
  using Unit = typename Dot::Unit;
  static_assert(sizeof(Unit) == sizeof(float), "a panel holds floats and units alike");
  const int64_t units = Units<Dot>(k);
  ForEachPanel(columns, segments * units, [&](int vectors, int64_t first, int64_t slot) {
    const int64_t width = vectors * Vec::kLanes;
    float* bias_out = static_cast<float*>(packed) + slot;
    for (int64_t i = 0; i < width; ++i)
      bias_out[i] = bias && first + i < columns ? bias[first + i] * scale.bias : 0.0f;
    Unit* out = static_cast<Unit*>(packed) + slot + width;
    for (int64_t segment = 0; segment < segments; ++segment) {
      for (int64_t unit = 0; unit < units; ++unit) {
        for (int64_t i = 0; i < width; ++i) {
          if (first + i >= columns) {
            *out++ = Unit{};
            continue;
          }
          const float* from = weight(first + i, segment) + unit * Dot::kUnit;
          const int64_t valid = Min(k - unit * Dot::kUnit, Dot::kUnit);
          float scaled[Dot::kUnit];
          for (int64_t j = 0; j < valid; ++j) scaled[j] = from[j] * scale.weight;
          *out++ = Dot::PackUnit(scaled, valid);
        }
      }
    }
  });
}

}  // namespace
}  // namespace mvf

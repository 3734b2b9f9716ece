// Weight panels: a [columns][K] matrix cut into groups of one to three vectors of columns, so that a
// micro-kernel streams its panel from front to back. A panel is a header (its bias) followed by K rows of
// columns; missing columns are zeros.
#pragma once

namespace mvf {
namespace {

// Vectors in the next panel when `remaining` vectors of columns are left: as many as the vector type prefers,
// but no panel of one (it would starve the multipliers) where a three or two twos do.
constexpr int PanelVectors(int64_t remaining) {
  if (remaining == 1 || remaining == kMaxPanelVectors) return static_cast<int>(remaining);
  return remaining == 2 || remaining == 4 ? 2 : kPanelVectors;
}

constexpr int64_t ColumnVectors(int64_t columns) { return CeilDiv(columns, Vec::kLanes); }

template <class Dot>
constexpr int64_t Units(int64_t k) {
  return CeilDiv(k, Dot::kUnit);
}

// Slots (of a lane's size) of all panels of a [columns][segments * units] matrix.
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

// Rows of a panel that come before its weights: the bias, and whatever else an epilogue needs.
template <class Dot>
constexpr int64_t kHeaderRows = 1;

// Packs unit(column, segment, at, valid): the unit of the `valid` values of K from `at` on. Each segment is
// padded to whole units. header(column, width, slots) writes a column's header, whose rows lie `width` slots
// apart.
template <class Dot, class Unit, class Header>
void PackPanelsWithHeader(int64_t columns, int64_t segments, int64_t k, Unit unit, Header header,
                          void* packed) {
  using Slot = typename Dot::Unit;
  static_assert(sizeof(Slot) == sizeof(Vec::Lane), "a panel holds lanes and units alike");
  const int64_t units = Units<Dot>(k);
  const int64_t panel_units = kHeaderRows<Dot> - 1 + segments * units;
  ForEachPanel(columns, panel_units, [&](int vectors, int64_t first, int64_t slot) {
    const int64_t width = vectors * Vec::kLanes;
    Slot* out = static_cast<Slot*>(packed) + slot;
    __builtin_memset(out, 0, static_cast<size_t>(kHeaderRows<Dot> * width) * sizeof(Slot));
    for (int64_t i = 0; i < width && first + i < columns; ++i) header(first + i, width, out + i);
    out += kHeaderRows<Dot> * width;
    for (int64_t segment = 0; segment < segments; ++segment) {
      for (int64_t at = 0; at < units * Dot::kUnit; at += Dot::kUnit) {
        for (int64_t i = 0; i < width; ++i) {
          *out++ = first + i < columns ? unit(first + i, segment, at, Min(k - at, Dot::kUnit)) : Slot{};
        }
      }
    }
  });
}

// What weights and biases are multiplied by on their way into the panels.
struct PanelScale {
  float weight = 1.0f;
  float bias = 1.0f;
};

// Packs weight(column, segment) -> pointer to that segment's K values, with the bias as the header.
template <class Dot, class Weight>
void PackPanels(int64_t columns, int64_t segments, int64_t k, Weight weight, const float* bias, void* packed,
                PanelScale scale = {}) {
  PackPanelsWithHeader<Dot>(
      columns, segments, k,
      [&](int64_t column, int64_t segment, int64_t at, int64_t valid) {
        const float* from = weight(column, segment) + at;
        float scaled[Dot::kUnit];
        for (int64_t i = 0; i < valid; ++i) scaled[i] = from[i] * scale.weight;
        return Dot::PackUnit(scaled, valid);
      },
      [&](int64_t column, int64_t, void* slot) {
        const Vec::Lane value = ToLane(bias ? bias[column] * scale.bias : 0.0f);
        __builtin_memcpy(slot, &value, sizeof(value));
      },
      packed);
}

}  // namespace
}  // namespace mvf

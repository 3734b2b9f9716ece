// Walking a row vector by vector: every vector is whole but the last, and a loop body is written once for
// both.
#pragma once

namespace mvf {
namespace {

template <class V>
struct AllLanesOf {
  template <class Element>
  MVF_INLINE V Load(const Element* p) const {
    return V::Load(p);
  }
  template <class Element>
  MVF_INLINE void Store(V v, Element* p) const {
    v.Store(p);
  }
  // v, with `outside` in the lanes behind the row's end.
  MVF_INLINE V Fill(V v, float /*outside*/) const { return v; }
};

template <class V>
struct SomeLanesOf {
  int count;  // 1 <= count < V::kLanes

  template <class Element>
  MVF_INLINE V Load(const Element* p) const {
    return V::LoadPartial(p, count);
  }
  template <class Element>
  MVF_INLINE void Store(V v, Element* p) const {
    v.StorePartial(p, count);
  }
  MVF_INLINE V Fill(V v, float outside) const {
    typename V::Lane lanes[V::kLanes];
    v.Store(lanes);
    for (int i = count; i < V::kLanes; ++i) lanes[i] = outside;
    return V::Load(lanes);
  }
};

using AllLanes = AllLanesOf<Vec>;
using SomeLanes = SomeLanesOf<Vec>;

// visit(column, lanes) for columns begin, begin + kLanes, ... below end.
template <class V = Vec, class Visit>
MVF_INLINE void ForEachVector(int64_t begin, int64_t end, Visit visit) {
  int64_t column = begin;
  for (; column + V::kLanes <= end; column += V::kLanes) visit(column, AllLanesOf<V>{});
  if (column < end) visit(column, SomeLanesOf<V>{static_cast<int>(end - column)});
}

// A panel without bias whose rows are the first `channels` floats at row_at(row), with zeros up to `width`.
template <class RowAt>
MVF_INLINE void FillPanelRows(int64_t rows, int64_t channels, int64_t width, float* panel, RowAt row_at) {
  __builtin_memset(panel, 0, static_cast<size_t>((1 + rows) * width) * sizeof(float));
  for (int64_t row = 0; row < rows; ++row) {
    const float* const from = row_at(row);
    float* const to = panel + (1 + row) * width;
    ForEachVector(0, channels, [&](int64_t c, auto lanes) { lanes.Store(lanes.Load(from + c), to + c); });
  }
}

}  // namespace
}  // namespace mvf

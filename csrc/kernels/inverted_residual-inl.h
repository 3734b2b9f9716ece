// The inverted residual, two output rows at a time: a ring holds the expanded rows that the depthwise kernel
// still needs, so that the expanded map never exists in memory.
#pragma once

namespace mvf {
namespace {

inline void Clear(Vec::Lane* p, int64_t count) {
  for (int64_t i = 0; i < count; ++i) p[i] = Vec::Lane{};
}

template <class Dot>
void ClearPadding(const InvertedResidualState<Dot>& state) {
  const auto& layout = state.layout;
  Clear(state.zeros, layout.zeros);
  ForEachBlock<Dot>(state.args.shape, [&](int vectors, int64_t first, int64_t) {
    const int64_t width = vectors * Vec::kLanes;
    for (int64_t i = 0; i < layout.slots; ++i) {
      Vec::Lane* row = state.Ring(first) + i * layout.row_pixels * width;
      Clear(row, width);
      Clear(row + (layout.row_pixels - 1) * width, width);
    }
  });
}

// Pixels of input row y as units.
template <class Dot>
Operand<typename Dot::Unit> InputRow(const InvertedResidualState<Dot>& state, int64_t y) {
  using Unit = typename Dot::Unit;
  using Element = typename Dot::Element;
  const Map& input = state.args.input;
  const int64_t channels = state.args.shape.in, units = Units<Dot>(channels);
  if (state.layout.staged == 0) {
    return {reinterpret_cast<const Unit*>(input.Row<Element>(y)), input.pixel_stride / Dot::kUnit, 0, 1,
            units};
  }
  const int64_t stride = units * Dot::kUnit;
  for (int64_t x = 0; x < input.width; ++x) {
    const Element* from = input.Pixel<Element>(y, x);
    for (int64_t c = 0; c < stride; ++c) state.staged[x * stride + c] = c < channels ? from[c] : Element{};
  }
  return {reinterpret_cast<const Unit*>(state.staged), units, 0, 1, units};
}

// Vectors whose activation is computed at once: enough to hide its latency.
constexpr int kActivationGroup = 4;

// In place; returns where the next group begins.
MVF_INLINE Vec::Lane* ActivateGroup(Vec::Lane* group) {
#pragma GCC unroll 4
  for (int i = 0; i < kActivationGroup; ++i) {
    Vec::Lane* p = group + i * Vec::kLanes;
    Activate<kScaledSilu>(Vec::Load(p)).Store(p);
  }
  return group + kActivationGroup * Vec::kLanes;
}

// A tile of expanded pixels without its activation: that of the tile before, `waiting` (or null), is computed
// between the products, since by itself it would leave the multipliers idle.
template <class Dot, int kRows, int kVectors>
MVF_INLINE void ExpandTile(Operand<typename Dot::Unit> tile, const Vec::Lane* panel, Vec::Lane* waiting,
                           Vec::Lane* out) {
  using Unit = typename Dot::Unit;
  constexpr int kWidth = kVectors * Vec::kLanes;
  constexpr int kGroups = kRows * kVectors / kActivationGroup;
  static_assert(kGroups * kActivationGroup == kRows * kVectors, "a tile is whole groups");
  TileOf<Dot, kRows, kVectors> sum;
#pragma GCC unroll 3
  for (int j = 0; j < kVectors; ++j) {
    const Vec bias = Vec::Load(panel + j * Vec::kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) sum[i][j] = bias;
  }
  const Unit* a = tile.data;
  const Unit* weights = reinterpret_cast<const Unit*>(panel) + kHeaderRows<Dot> * kWidth;
  int64_t left = tile.units;
  if (waiting) {
    tile.units = left / kGroups / RowUnits<Dot>::kUnits * RowUnits<Dot>::kUnits;
    left -= kGroups * tile.units;
    for (int i = 0; i < kGroups; ++i) {
      Accumulate<Dot, kRows, kVectors, false>(tile, a, weights, Ahead{}, sum);
      a += tile.units;
      weights += tile.units * kWidth;
      waiting = ActivateGroup(waiting);
    }
  }
  tile.units = left;
  Accumulate<Dot, kRows, kVectors, false>(tile, a, weights, Ahead{}, sum);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
    for (int j = 0; j < kVectors; ++j) sum[i][j].Store(out + (i * kVectors + j) * Vec::kLanes);
  }
}

// Whether activations go by themselves: where pixels are multiplied lane by lane, every register is in use,
// and beside an activation GCC would copy sums from one to another, which takes multiplications' places.
template <class Dot>
constexpr bool kActivatesApart = RowUnits<Dot>::kUnits > 1;

// A row of expanded pixels, then its activation.
template <class Dot, int kVectors>
MVF_INLINE void ExpandRow(Operand<typename Dot::Unit> row, int64_t width, const Vec::Lane* panel,
                          Vec::Lane* out) {
  constexpr int kWidth = kVectors * Vec::kLanes;
  PanelRows<Dot, Activation::kNone, false, false>(kVectors, row, 0, width, panel,
                                                  Destination<Vec::Lane>{out, kWidth, nullptr, 0}, 0, kWidth);
  ActivateInPlace<kScaledSilu>(out, width * kVectors);
}

// Input rows of one channel block into its ring.
template <class Dot, int kVectors>
__attribute__((noinline)) void ExpandRows(const InvertedResidualState<Dot>& state, Range rows,
                                          const Vec::Lane* panel, Vec::Lane* ring) {
  constexpr int kWidth = kVectors * Vec::kLanes;
  constexpr int kRows = TileRows(kVectors);
  const int64_t row_lanes = state.layout.row_pixels * kWidth, width = state.args.input.width;
  Vec::Lane* waiting = nullptr;
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    const Operand<typename Dot::Unit> row = InputRow(state, y);
    Vec::Lane* out = ring + y % state.layout.slots * row_lanes + kWidth;
    if constexpr (kActivatesApart<Dot>) {
      ExpandRow<Dot, kVectors>(row, width, panel, out);
    } else {
      int64_t x = 0;
      if constexpr (!TileRegisters<Dot>::kExist) {
        for (; x + kRows <= width; x += kRows) {
          Operand<typename Dot::Unit> tile = row;
          tile.data += x * row.row_stride;
          ExpandTile<Dot, kRows, kVectors>(tile, panel, waiting, out + x * kWidth);
          waiting = out + x * kWidth;
        }
      }
      if (x < width) {
        PanelRows<Dot, kScaledSilu, false, false>(kVectors, row, x, width, panel,
                                                  Destination<Vec::Lane>{out, kWidth, nullptr, 0}, 0, kWidth);
      }
    }
  }
  if (waiting) {
    for (int i = 0; i < kRows * kVectors; i += kActivationGroup) waiting = ActivateGroup(waiting);
  }
}

// Output rows [y, y + kRows) of one channel block from its ring. `out` is the first row's first pixel.
template <class Dot, int kStride, int kVectors, int kRows>
__attribute__((noinline)) void ConvolveRows(const InvertedResidualState<Dot>& state, int64_t y,
                                            const Vec::Lane* packed, const Vec::Lane* ring,
                                            typename Dot::Element* out) {
  constexpr int kWidth = kVectors * Vec::kLanes;
  const int64_t width = state.args.output.width, height = state.args.input.height;
  const int64_t row_lanes = state.layout.row_pixels * kWidth;
  DepthwiseRows<Vec::Lane, typename Dot::Element, Fixed<kWidth>> rows;
  for (int i = 0; i < kRows + 2; ++i) {
    const int64_t in_y = y * kStride - 1 + i;
    const bool padding = in_y < 0 || in_y >= height;
    rows.in[i] = padding ? state.zeros : ring + in_y % state.layout.slots * row_lanes;
  }
  rows.out_stride = state.layout.hidden_stride;
  for (int i = 0; i < kRows; ++i) rows.out[i] = out + i * width * rows.out_stride;
  for (int v = 0; v < kVectors; ++v) {
    constexpr Activation kActivation = kActivatesApart<Dot> ? Activation::kNone : kScaledSilu;
    DepthwiseSpan<kStride, kRows, kActivation>(rows, width, packed, AllLanes{});
    packed += kDepthwiseVectors * Vec::kLanes;
    for (int i = 0; i < kRows + 2; ++i) rows.in[i] += Vec::kLanes;
    for (int i = 0; i < kRows; ++i) rows.out[i] += Vec::kLanes;
  }
}

// One channel block's part of a band: expands the input rows that its output rows lack.
template <class Dot, int kVectors>
void ExpandBlock(const InvertedResidualState<Dot>& state, Range lacking, int64_t first,
                 const Vec::Lane* panel) {
  ExpandRows<Dot, kVectors>(state, lacking, panel, state.Ring(first));
}

// And convolves them.
template <class Dot, int kStride, int kVectors>
void ConvolveBlock(const InvertedResidualState<Dot>& state, Range band, int64_t first,
                   const Vec::Lane* panel) {
  constexpr int64_t kWidth = kVectors * Vec::kLanes;
  const Vec::Lane* const ring = state.Ring(first);
  const Vec::Lane* packed = panel + kWidth * (1 + Units<Dot>(state.args.shape.in));
  typename Dot::Element* out = state.hidden + first;
  int64_t y = band.begin;
  if constexpr (kStride == 1) {
    if (y + 2 == band.end) return ConvolveRows<Dot, kStride, kVectors, 2>(state, y, packed, ring, out);
  }
  for (; y < band.end; ++y) {
    ConvolveRows<Dot, kStride, kVectors, 1>(state, y, packed, ring, out);
    out += state.args.output.width * state.layout.hidden_stride;
  }
}

// Block by block, so that what is expanded stays in the first-level cache; but all blocks' products at once
// where whole tiles are multiplied: each turn from those to vectors and back costs hundreds of cycles.
template <class Dot, int kStride>
void ExpandAndConvolve(const InvertedResidualState<Dot>& state, Range lacking, Range band) {
  const auto expand = [&](auto vectors, int64_t first, const Vec::Lane* panel) {
    ExpandBlock<Dot, decltype(vectors){}>(state, lacking, first, panel);
  };
  const auto convolve = [&](auto vectors, int64_t first, const Vec::Lane* panel) {
    ConvolveBlock<Dot, kStride, decltype(vectors){}>(state, band, first, panel);
  };
  const auto for_each_block = [&](auto visit) {
    ForEachBlock<Dot>(state.args.shape, [&](int vectors, int64_t first, int64_t slot) {
      const Vec::Lane* const panel = state.packed + slot;
      if (vectors == kMaxPanelVectors) {
        visit(Fixed<kMaxPanelVectors>{}, first, panel);
      } else if (vectors == 2) {
        visit(Fixed<2>{}, first, panel);
      } else {
        visit(Fixed<1>{}, first, panel);
      }
    });
  };
  if constexpr (TileRegisters<Dot>::kExist) {
    for_each_block(expand);
    for_each_block(convolve);
  } else {
    for_each_block([&](auto... block) {
      expand(block...);
      convolve(block...);
    });
  }
}

// The depthwise output's activation where it is yet to come.
template <class Dot>
void ActivateHidden(const InvertedResidualState<Dot>& state, int64_t pixels) {
  const int64_t channels = state.layout.channels, stride = state.layout.hidden_stride;
  const int64_t runs = channels == stride ? 1 : pixels;
  for (int64_t i = 0; i < runs; ++i) {
    ActivateInPlace<kScaledSilu>(state.hidden + i * stride, pixels / runs * channels / Vec::kLanes);
  }
}

// The band's output from its depthwise output, panel by panel.
template <class Dot, bool kResidual>
void ProjectRows(const InvertedResidualState<Dot>& state, Range band) {
  using Element = typename Dot::Element;
  const Map &input = state.args.input, &output = state.args.output;
  const InvertedResidualShape& shape = state.args.shape;
  const int64_t units = Units<Dot>(shape.expanded), stride = state.layout.hidden_stride;
  // Where rows follow each other without a gap, the band is one long row, which has fewer odd ends.
  const bool joined = output.row_stride == output.width * output.pixel_stride &&
                      (!kResidual || input.row_stride == input.width * input.pixel_stride);
  const int64_t rows = joined ? 1 : band.end - band.begin;
  const int64_t pixels = (band.end - band.begin) * output.width / rows;
  ForEachPanel(shape.out, units, [&](int vectors, int64_t column, int64_t slot) {
    const Vec::Lane* panel = state.packed + ProjectionSlot<Dot>(shape) + slot;
    for (int64_t i = 0; i < rows; ++i) {
      const Element* hidden = state.hidden + i * pixels * stride;
      const Operand<typename Dot::Unit> operand = {reinterpret_cast<const typename Dot::Unit*>(hidden),
                                                   stride / Dot::kUnit, 0, 1, units};
      const Destination<Element> to = {output.Row<Element>(band.begin + i), output.pixel_stride,
                                       kResidual ? input.Row<Element>(band.begin + i) : nullptr,
                                       input.pixel_stride};
      PanelRows<Dot, Activation::kNone, kResidual, false>(vectors, operand, 0, pixels, panel, to, column,
                                                          shape.out - column);
    }
  });
}

template <class Dot, int kStride>
void InvertedResidualRows(const InvertedResidualArgs& args, Range rows, void* scratch) {
  const InvertedResidualState<Dot> state(args, scratch);
  ClearPadding(state);
  int64_t expanded = Max(rows.begin * kStride - 1, 0);
  for (int64_t y = rows.begin; y < rows.end; y += kBandRows) {
    const Range band = {y, Min(y + kBandRows, rows.end)};
    const Range lacking = {expanded, Min((band.end - 1) * kStride + 2, args.input.height)};
    ExpandAndConvolve<Dot, kStride>(state, lacking, band);
    expanded = lacking.end;
    if constexpr (kActivatesApart<Dot>) ActivateHidden(state, (band.end - band.begin) * args.output.width);
    if (args.shape.residual) {
      ProjectRows<Dot, true>(state, band);
    } else {
      ProjectRows<Dot, false>(state, band);
    }
  }
}

template <class Dot>
void InvertedResidualRun(const InvertedResidualArgs& args, Range rows, void* scratch) {
  if (args.shape.stride == 1) {
    InvertedResidualRows<Dot, 1>(args, rows, scratch);
  } else {
    InvertedResidualRows<Dot, 2>(args, rows, scratch);
  }
}

}  // namespace
}  // namespace mvf

// The inverted residual, two output rows at a time: a ring holds the expanded rows that the depthwise kernel
// still needs, so that the expanded map never exists in memory.
//
// Its two activations are kScaledSilu: the expansion's weights and the depthwise biases carry a factor of
// -log2(e), and the projection's weights take it out again.
#pragma once

namespace mvf {
namespace {

constexpr float kIntoScaledSilu = -kLog2E;
constexpr float kOutOfScaledSilu = -0.69314718f;

// Packed: for each channel block its panel of the expansion and its depthwise weights, in the order of use,
// then the projection's panels.
template <class Dot>
int64_t BlockUnits(const InvertedResidualShape& shape) {
  return Units<Dot>(shape.in) + kDepthwiseVectors;
}

template <class Dot>
int64_t ProjectionSlot(const InvertedResidualShape& shape) {
  return PanelSlots(shape.expanded, BlockUnits<Dot>(shape));
}

// visit(vectors, first channel, first slot)
template <class Dot, class Visit>
MVF_INLINE void ForEachBlock(const InvertedResidualShape& shape, Visit visit) {
  ForEachPanel(shape.expanded, BlockUnits<Dot>(shape), visit);
}

template <class Dot>
size_t InvertedResidualPackedBytes(const InvertedResidualShape& shape) {
  return (ProjectionSlot<Dot>(shape) + PanelSlots(shape.out, Units<Dot>(shape.expanded))) * sizeof(float);
}

template <class Dot>
void InvertedResidualPack(const InvertedResidualShape& shape, const InvertedResidualWeights& weights,
                          void* packed) {
  float* slots = static_cast<float*>(packed);
  ForEachBlock<Dot>(shape, [&](int vectors, int64_t first, int64_t slot) {
    const int64_t width = vectors * Vec::kLanes;
    const LinearWeights& expand = weights.expand;
    PackPanels<Dot>(Min(width, shape.expanded - first), 1, shape.in,
                    [&](int64_t n, int64_t) { return expand.weight + (first + n) * shape.in; },
                    expand.bias ? expand.bias + first : nullptr, slots + slot,
                    {kIntoScaledSilu, kIntoScaledSilu});
    float* depthwise = slots + slot + width * (1 + Units<Dot>(shape.in));
    for (int64_t c = 0; c < width; c += Vec::kLanes) {
      PackDepthwise(weights.depthwise, shape.expanded, first + c, kIntoScaledSilu,
                    depthwise + c * kDepthwiseVectors);
    }
  });
  const LinearWeights& project = weights.project;
  PackPanels<Dot>(shape.out, 1, shape.expanded,
                  [&](int64_t n, int64_t) { return project.weight + n * shape.expanded; }, project.bias,
                  slots + ProjectionSlot<Dot>(shape), {kOutOfScaledSilu, 1.0f});
}

// Output rows that are projected together; the depthwise loop makes them together at stride 1.
constexpr int64_t kBandRows = 2;

// Scratch memory: zeros, a ring for each channel block, the band's depthwise output and a staged input row.
template <class Dot>
struct InvertedResidualLayout {
  using Element = typename Dot::Element;

  int64_t zeros;          // floats of a row above or below the map, as wide as the widest block
  int64_t slots;          // rows of a ring
  int64_t row_pixels;     // pixels of a ring's row with the padding at its ends
  int64_t channels;       // expanded channels in whole vectors
  int64_t hidden_stride;  // elements from pixel to pixel of the depthwise output
  int64_t hidden;         // elements of the depthwise output
  int64_t staged;         // elements of the staged row

  explicit InvertedResidualLayout(const InvertedResidualArgs& args) {
    row_pixels = args.input.width + 2;
    zeros = row_pixels * kMaxPanelVectors * Vec::kLanes;
    slots = args.shape.stride * (kBandRows - 1) + 3;
    channels = ColumnVectors(args.shape.expanded) * Vec::kLanes;
    // Pixels a multiple of 256 bytes apart would share few sets of the cache.
    constexpr int64_t kLineElements = 64 / int64_t{sizeof(Element)};
    hidden_stride = channels % (4 * kLineElements) == 0 ? channels + kLineElements : channels;
    hidden = kBandRows * args.output.width * hidden_stride;
    staged = NeedsStaging(args) ? args.input.width * StagedStride<Dot>(args.shape.in) : 0;
  }

  int64_t RingFloats() const { return slots * row_pixels * channels; }
  size_t Bytes() const {
    return (zeros + RingFloats()) * sizeof(float) + (hidden + staged) * sizeof(Element);
  }

  // Input rows that the multiply cannot read in place: not made of whole units.
  static bool NeedsStaging(const InvertedResidualArgs& args) {
    return args.shape.in % Dot::kUnit != 0 || args.input.pixel_stride % Dot::kUnit != 0 ||
           args.input.row_stride % Dot::kUnit != 0;
  }
};

template <class Dot>
size_t InvertedResidualScratchBytes(const InvertedResidualArgs& args) {
  return InvertedResidualLayout<Dot>(args).Bytes();
}

// One run: its arguments and where it keeps what.
template <class Dot>
struct InvertedResidualState {
  using Element = typename Dot::Element;

  InvertedResidualArgs args;
  InvertedResidualLayout<Dot> layout;
  const float* packed;
  float* zeros;
  float* rings;
  Element* hidden;
  Element* staged;

  InvertedResidualState(const InvertedResidualArgs& arguments, void* scratch)
      : args(arguments), layout(arguments) {
    packed = static_cast<const float*>(args.packed);
    zeros = static_cast<float*>(scratch);
    rings = zeros + layout.zeros;
    hidden = reinterpret_cast<Element*>(rings + layout.RingFloats());
    staged = hidden + layout.hidden;
  }
  // The ring of the block whose first channel this is: [slots][row_pixels][the block's channels].
  float* Ring(int64_t first) const { return rings + layout.slots * layout.row_pixels * first; }
};

inline void Clear(float* p, int64_t count) {
  for (int64_t i = 0; i < count; ++i) p[i] = 0.0f;
}

template <class Dot>
void ClearPadding(const InvertedResidualState<Dot>& state) {
  const auto& layout = state.layout;
  Clear(state.zeros, layout.zeros);
  ForEachBlock<Dot>(state.args.shape, [&](int vectors, int64_t first, int64_t) {
    const int64_t width = vectors * Vec::kLanes;
    for (int64_t i = 0; i < layout.slots; ++i) {
      float* row = state.Ring(first) + i * layout.row_pixels * width;
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

// Input rows [begin, end) of one channel block into its ring.
template <class Dot, int kVectors>
void ExpandRows(const InvertedResidualState<Dot>& state, Range rows, const float* panel, float* ring) {
  constexpr int64_t kWidth = kVectors * Vec::kLanes;
  const int64_t row_floats = state.layout.row_pixels * kWidth;
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    const Destination<float> to = {ring + y % state.layout.slots * row_floats + kWidth, kWidth, nullptr, 0};
    PanelRows<Dot, kScaledSilu, false, false>(kVectors, InputRow(state, y), 0, state.args.input.width, panel,
                                              to, 0, kWidth);
  }
}

// Output rows [y, y + kRows) of one channel block from its ring. `out` is the first row's first pixel.
template <class Dot, int kStride, int kVectors, int kRows>
__attribute__((noinline)) void ConvolveRows(const InvertedResidualState<Dot>& state, int64_t y,
                                            const float* packed, const float* ring,
                                            typename Dot::Element* out) {
  constexpr int kWidth = kVectors * Vec::kLanes;
  const int64_t width = state.args.output.width, height = state.args.input.height;
  const int64_t row_floats = state.layout.row_pixels * kWidth;
  DepthwiseRows<float, typename Dot::Element, FixedStride<kWidth>> rows;
  for (int i = 0; i < kRows + 2; ++i) {
    const int64_t in_y = y * kStride - 1 + i;
    const bool padding = in_y < 0 || in_y >= height;
    rows.in[i] = padding ? state.zeros : ring + in_y % state.layout.slots * row_floats;
  }
  rows.out_stride = state.layout.hidden_stride;
  for (int i = 0; i < kRows; ++i) rows.out[i] = out + i * width * rows.out_stride;
  for (int v = 0; v < kVectors; ++v) {
    DepthwiseSpan<kStride, kRows, kScaledSilu>(rows, width, packed, AllLanes{});
    packed += kDepthwiseVectors * Vec::kLanes;
    for (int i = 0; i < kRows + 2; ++i) rows.in[i] += Vec::kLanes;
    for (int i = 0; i < kRows; ++i) rows.out[i] += Vec::kLanes;
  }
}

// One channel block's part of a band: expands the input rows that its output rows lack, then convolves.
template <class Dot, int kStride, int kVectors>
void BlockRows(const InvertedResidualState<Dot>& state, Range lacking, Range band, int64_t first,
               const float* panel) {
  constexpr int64_t kWidth = kVectors * Vec::kLanes;
  float* ring = state.Ring(first);
  ExpandRows<Dot, kVectors>(state, lacking, panel, ring);
  const float* packed = panel + kWidth * (1 + Units<Dot>(state.args.shape.in));
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
    const float* panel = state.packed + ProjectionSlot<Dot>(shape) + slot;
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
    ForEachBlock<Dot>(args.shape, [&](int vectors, int64_t first, int64_t slot) {
      const float* panel = state.packed + slot;
      if (vectors == 3) {
        BlockRows<Dot, kStride, 3>(state, lacking, band, first, panel);
      } else if (vectors == 2) {
        BlockRows<Dot, kStride, 2>(state, lacking, band, first, panel);
      } else {
        BlockRows<Dot, kStride, 1>(state, lacking, band, first, panel);
      }
    });
    expanded = lacking.end;
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

// What the inverted residual packs and where it keeps what in scratch memory.
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
  return (ProjectionSlot<Dot>(shape) + PanelSlots(shape.out, Units<Dot>(shape.expanded))) * sizeof(Vec::Lane);
}

template <class Dot>
void InvertedResidualPack(const InvertedResidualShape& shape, const InvertedResidualWeights& weights,
                          void* packed) {
  Vec::Lane* slots = static_cast<Vec::Lane*>(packed);
  ForEachBlock<Dot>(shape, [&](int vectors, int64_t first, int64_t slot) {
    const int64_t width = vectors * Vec::kLanes;
    const LinearWeights& expand = weights.expand;
    PackPanels<Dot>(Min(width, shape.expanded - first), 1, shape.in,
                    [&](int64_t n, int64_t) { return expand.weight + (first + n) * shape.in; },
                    expand.bias ? expand.bias + first : nullptr, slots + slot,
                    {kIntoScaledSilu, kIntoScaledSilu});
    Vec::Lane* depthwise = slots + slot + width * (1 + Units<Dot>(shape.in));
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

  int64_t zeros;          // lanes of a row above or below the map, as wide as the widest block
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

  int64_t RingLanes() const { return slots * row_pixels * channels; }
  size_t Bytes() const {
    return (zeros + RingLanes()) * sizeof(Vec::Lane) + (hidden + staged) * sizeof(Element);
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
  const Vec::Lane* packed;
  Vec::Lane* zeros;
  Vec::Lane* rings;
  Element* hidden;
  Element* staged;

  InvertedResidualState(const InvertedResidualArgs& arguments, void* scratch)
      : args(arguments), layout(arguments) {
    packed = static_cast<const Vec::Lane*>(args.packed);
    zeros = static_cast<Vec::Lane*>(scratch);
    rings = zeros + layout.zeros;
    hidden = reinterpret_cast<Element*>(rings + layout.RingLanes());
    staged = hidden + layout.hidden;
  }
  // The ring of the block whose first channel this is: [slots][row_pixels][the block's channels].
  Vec::Lane* Ring(int64_t first) const { return rings + layout.slots * layout.row_pixels * first; }
};

}  // namespace
}  // namespace mvf

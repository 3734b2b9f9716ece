// What the 8-bit inverted residual packs and where it keeps what in scratch memory.
#pragma once

namespace mvf {
namespace {

// Vectors of expanded channels that go through the expansion and the depthwise convolution together.
constexpr int64_t kInt8BlockVectors = 2;

// Packed: the tables; for each block of channels its panel of the expansion and its depthwise vectors, in the
// order of use; the projection's panels.
struct PackedInt8InvertedResidual {
  PackedEpilogue expand;
  PackedEpilogue depthwise;
  PackedEpilogue project;
};

inline int64_t Int8VectorSlots(const Int8InvertedResidualShape& shape) {
  return (kHeaderRows<Int8Dot> + Int8Units(shape.in) + kInt8DepthwiseVectors<Int8Dot>)*Vec::kLanes;
}
inline int64_t Int8ExpansionSlots(const Int8InvertedResidualShape& shape, int64_t vectors) {
  return (kHeaderRows<Int8Dot> + Int8Units(shape.in)) * Vec::kLanes * vectors;
}
inline int64_t Int8ProjectionSlot(const Int8InvertedResidualShape& shape) {
  return ColumnVectors(shape.expanded) * Int8VectorSlots(shape);
}

// Units of K of the projection: whole vectors of expanded channels.
inline int64_t Int8HiddenUnits(const Int8InvertedResidualShape& shape) {
  return Int8Units(Int8PaddedColumns(shape.expanded));
}

// visit(vectors, first vector, first slot)
template <class Visit>
MVF_INLINE void ForEachInt8Block(const Int8InvertedResidualShape& shape, Visit visit) {
  const int64_t all = ColumnVectors(shape.expanded);
  for (int64_t vector = 0; vector < all; vector += kInt8BlockVectors) {
    visit(Min(all - vector, kInt8BlockVectors), vector, vector * Int8VectorSlots(shape));
  }
}

inline size_t Int8InvertedResidualPackedBytes(const Int8InvertedResidualShape& shape) {
  const int64_t slots = Int8ProjectionSlot(shape) + Int8PanelSlots(shape.out, Int8HiddenUnits(shape));
  return sizeof(PackedInt8InvertedResidual) + static_cast<size_t>(slots) * sizeof(Int8Dot::Unit);
}

inline void Int8InvertedResidualPack(const Int8InvertedResidualShape& shape,
                                     const Int8InvertedResidualWeights& weights, void* packed) {
  PackedInt8InvertedResidual* const header = static_cast<PackedInt8InvertedResidual*>(packed);
  PackTable(weights.expand_requantization.table, &header->expand);
  PackTable(weights.depthwise_requantization.table, &header->depthwise);
  PackEpilogue(weights.project_requantization.table, Activation::kNone, &header->project);
  Int8Dot::Unit* const slots = reinterpret_cast<Int8Dot::Unit*>(header + 1);
  ForEachInt8Block(shape, [&](int64_t vectors, int64_t vector, int64_t slot) {
    const int64_t first = vector * Vec::kLanes;
    const auto expand = [&](int64_t n, int64_t) { return weights.expand.weight + n * shape.in; };
    PackInt8Panels(
        first, Min(vectors * Vec::kLanes, shape.expanded - first), 1, shape.in, shape.in, expand,
        weights.expand.bias, weights.expand_requantization,
        [&](int64_t n) { return -shape.input_zero * SumOfWeights(expand(n, 0), shape.in); }, slots + slot);
    Int8Dot::Unit* depthwise = slots + slot + Int8ExpansionSlots(shape, vectors);
    for (int64_t c = first; c < first + vectors * Vec::kLanes; c += Vec::kLanes) {
      PackInt8Depthwise<Int8Dot>(weights.depthwise, weights.depthwise_requantization, shape.expanded_zero,
                                 shape.expanded, c, depthwise);
      depthwise += kInt8DepthwiseVectors<Int8Dot> * Vec::kLanes;
    }
  });
  PackInt8Matrix(shape.expanded, shape.out, weights.project, weights.project_requantization,
                 shape.depthwise_zero, slots + Int8ProjectionSlot(shape), Int8PaddedColumns(shape.expanded));
}

// Output rows that are projected together.
constexpr int64_t kInt8BandRows = 2;

// One run: its arguments and where it keeps what. Scratch: the rings, the band's depthwise output and staged
// input rows.
struct Int8InvertedResidualState {
  using Element = Int8Dot::Element;

  const Int8InvertedResidualArgs& args;
  const PackedInt8InvertedResidual& packed;
  const Int8Dot::Unit* slots;
  PixelRing<Int8Dot> ring;
  int64_t hidden_vector;  // elements from one vector of channels to the next in the depthwise output
  bool stages_input;
  Element* hidden;  // [vectors][pixels][channels of a vector]
  Element* staged_input;
  size_t size;

  Int8InvertedResidualState(const Int8InvertedResidualArgs& arguments, void* scratch)
      : args(arguments),
        packed(*static_cast<const PackedInt8InvertedResidual*>(args.packed)),
        slots(reinterpret_cast<const Int8Dot::Unit*>(
            static_cast<const PackedInt8InvertedResidual*>(args.packed) + 1)),
        ring(args.input, args.output.width, args.shape.expanded, args.shape.stride,
             args.shape.stride * (kInt8BandRows - 1) + 3, scratch),
        hidden_vector(((kInt8BandRows - 1) * args.output.width + RoundUp(args.output.width, kPixelGroup)) *
                      Vec::kLanes),
        stages_input(!kReadsInPlace || args.shape.in % Int8Dot::kUnit != 0 ||
                     args.input.pixel_stride % Int8Dot::kUnit != 0) {
    size = 0;
    char* const start = static_cast<char*>(scratch);
    const auto place = [&](size_t bytes) {
      const size_t at = size;
      size += static_cast<size_t>(RoundUp(static_cast<int64_t>(bytes), int64_t{kAlignment}));
      return start ? start + at : nullptr;
    };
    place(ring.Bytes());
    hidden = reinterpret_cast<Element*>(
        place(static_cast<size_t>(ring.vectors * hidden_vector) * sizeof(Element)));
    const int64_t row = args.input.width * Int8Stride(args.shape.in);
    staged_input = reinterpret_cast<Element*>(
        stages_input ? place(static_cast<size_t>(ring.slots * row) * sizeof(Element)) : nullptr);
  }
};

inline size_t Int8InvertedResidualScratchBytes(const Int8InvertedResidualArgs& args) {
  return Int8InvertedResidualState(args, nullptr).size;
}

}  // namespace
}  // namespace mvf

// The 8-bit inverted residual, two output rows at a time: rings hold the expanded rows that the depthwise
// convolution still needs, so that the expanded map never exists in memory.
#pragma once

namespace mvf {
namespace {

// Where rows of the depthwise convolution's output go: one vector of channels, pixel by pixel. Behind a row
// lie up to three pixels that are written with its last group; the next row is written over them.
template <class Dot>
struct HiddenPixels {
  typename Dot::Element* first;
  int64_t row_elements;

  MVF_INLINE void Store(ByteVec pixels, int64_t row, int64_t x, int64_t) const {
    Dot::StoreElements(pixels, first + row * row_elements + x * Vec::kLanes);
  }
};

// Rows of an expansion's tile: a group of pixels doubled as often as fits, so that its halves are groups,
// too.
constexpr int RingTileRows(int64_t vectors) {
  int rows = kPixelGroup;
  while (2 * rows <= TileRows(static_cast<int>(vectors))) rows *= 2;
  return rows;
}

// Input rows that cannot be multiplied where they lie, one after another.
inline void StageInputRows(const Int8InvertedResidualState& state, Range rows) {
  if (!state.stages_input) return;
  const Map& input = state.args.input;
  const int64_t channels = state.args.shape.in, stride = Int8Stride(channels);
  Int8Dot::Element* to = state.staged_input;
  for (int64_t y = rows.begin; y < rows.end; ++y, to += input.width * stride) {
    StagePixels(input.Row<const uint8_t>(y), input.pixel_stride, channels, input.width, stride, stride, to);
  }
}

// Row y of those that are staged from `first` on.
inline Operand<Int8Dot::Unit> InputRow(const Int8InvertedResidualState& state, int64_t first, int64_t y) {
  const Map& input = state.args.input;
  const int64_t units = Int8Units(state.args.shape.in);
  if (!state.stages_input) {
    return {reinterpret_cast<const Int8Dot::Unit*>(input.Row<const uint8_t>(y)),
            input.pixel_stride / Int8Dot::kUnit, 0, 1, units};
  }
  const Int8Dot::Unit* const staged = reinterpret_cast<const Int8Dot::Unit*>(state.staged_input);
  return {staged + (y - first) * input.width * units, units, 0, 1, units};
}

// One block of channels' part of a band: expands the input rows that its output rows lack.
template <int kVectors>
void Int8ExpandBlock(const Int8InvertedResidualState& state, Range lacking, int64_t vector,
                     const Int8Dot::Unit* panel) {
  const PixelRing<Int8Dot>& ring = state.ring;
  for (int64_t y = lacking.begin; y < lacking.end; ++y) {
    const RingEpilogue<Int8Dot> epilogue = {ring.Row(vector, y), ring.VectorElements(),
                                            ByteTable(state.packed.expand.table)};
    PanelTiles<Int8Dot, RingTileRows(kVectors), kVectors, false>(InputRow(state, lacking.begin, y), 0,
                                                                 ring.width, panel, epilogue, 0, Vec::kLanes);
  }
}

// And convolves them.
template <int kStride, int kVectors>
void Int8ConvolveBlock(const Int8InvertedResidualState& state, Range band, int64_t vector,
                       const Int8Dot::Unit* panel) {
  const PixelRing<Int8Dot>& ring = state.ring;
  const Map& output = state.args.output;
  const Int8Dot::Unit* packed = panel + Int8ExpansionSlots(state.args.shape, kVectors);
  const int64_t row_elements = output.width * Vec::kLanes;
  const bool together = kStride == 1 && band.begin + 2 == band.end && output.width % kPixelGroup == 0;
  for (int64_t i = 0; i < kVectors; ++i, packed += kInt8DepthwiseVectors<Int8Dot> * Vec::kLanes) {
    HiddenPixels<Int8Dot> hidden = {state.hidden + (vector + i) * state.hidden_vector, row_elements};
    if constexpr (kStride == 1) {
      if (together) {
        Int8DepthwiseRows<Int8Dot, kStride, 2>(ring.Under(vector + i, band.begin).at, output.width, packed,
                                               state.packed.depthwise.table, hidden);
        continue;
      }
    }
    for (int64_t y = band.begin; y < band.end; ++y, hidden.first += row_elements) {
      Int8DepthwiseRows<Int8Dot, kStride, 1>(ring.Under(vector + i, y).at, output.width, packed,
                                             state.packed.depthwise.table, hidden);
    }
  }
}

// Block by block, so that what is expanded stays in the first-level cache; but all blocks' products at once
// where whole tiles are multiplied: each turn from those to vectors and back costs hundreds of cycles.
template <int kStride>
void Int8ExpandAndConvolve(const Int8InvertedResidualState& state, Range lacking, Range band) {
  const auto expand = [&](auto vectors, int64_t vector, const Int8Dot::Unit* panel) {
    Int8ExpandBlock<decltype(vectors){}>(state, lacking, vector, panel);
  };
  const auto convolve = [&](auto vectors, int64_t vector, const Int8Dot::Unit* panel) {
    Int8ConvolveBlock<kStride, decltype(vectors){}>(state, band, vector, panel);
  };
  const auto for_each_block = [&](auto visit) {
    ForEachInt8Block(state.args.shape, [&](int64_t vectors, int64_t vector, int64_t slot) {
      if (vectors == 2) {
        visit(Fixed<2>{}, vector, state.slots + slot);
      } else {
        visit(Fixed<1>{}, vector, state.slots + slot);
      }
    });
  };
  if constexpr (TileRegisters<Int8Dot>::kExist) {
    for_each_block(expand);
    for_each_block(convolve);
  } else {
    for_each_block([&](auto... block) {
      expand(block...);
      convolve(block...);
    });
  }
}

// Units of a short segment: where the compiler knows them it unrolls the segment, which needs more registers
// than a machine of small tiles has.
template <int64_t kUnits>
constexpr auto SegmentUnits() {
  if constexpr (TileRows(2) == 8) {
    return Fixed<kUnits>{};
  } else {
    return kUnits;
  }
}

// The band's output from its depthwise output, panel by panel.
inline void Int8ProjectRows(const Int8InvertedResidualState& state, Range band) {
  const Map &input = state.args.input, &output = state.args.output;
  const Int8InvertedResidualShape& shape = state.args.shape;
  // Where rows follow each other without a gap, the band is one long row, which has fewer odd ends.
  const bool joined = output.row_stride == output.width * output.pixel_stride &&
                      (!shape.residual || input.row_stride == input.width * input.pixel_stride);
  const int64_t rows = joined ? 1 : band.end - band.begin;
  const int64_t pixels = (band.end - band.begin) * output.width / rows;
  constexpr auto kVectorUnits = SegmentUnits<Vec::kLanes / Int8Dot::kUnit>();
  using HiddenOperand = Operand<Int8Dot::Unit, decltype(SegmentUnits<Vec::kLanes / Int8Dot::kUnit>())>;
  const HiddenOperand hidden = {reinterpret_cast<const Int8Dot::Unit*>(state.hidden), kVectorUnits,
                                state.hidden_vector / Int8Dot::kUnit, state.ring.vectors, kVectorUnits};
  ForEachInt8Panel(shape.out, Int8HiddenUnits(shape), [&](int vectors, int64_t column, int64_t slot) {
    const Int8Dot::Unit* const panel = state.slots + Int8ProjectionSlot(shape) + slot;
    for (int64_t i = 0; i < rows; ++i) {
      HiddenOperand operand = hidden;
      operand.data += i * pixels * hidden.row_stride;
      const ByteDestination to = {output.Row<uint8_t>(band.begin + i), output.pixel_stride,
                                  shape.residual ? input.Row<const uint8_t>(band.begin + i) : nullptr,
                                  input.pixel_stride, shape.residual_multiplier};
      const auto multiply = [&](auto epilogue) {
        PanelRows<Int8Dot, false>(vectors, operand, 0, pixels, panel, epilogue, column, shape.out - column);
      };
      if (shape.residual) {
        multiply(BytesEpilogue<false, true>{to, nullptr});
      } else {
        MultiplyToBytes(state.packed.project, to, multiply);
      }
    }
  });
}

template <int kStride>
void Int8InvertedResidualRows(const Int8InvertedResidualState& state, Range rows) {
  int64_t expanded = Max(rows.begin * kStride - 1, 0);
  for (int64_t y = rows.begin; y < rows.end; y += kInt8BandRows) {
    const Range band = {y, Min(y + kInt8BandRows, rows.end)};
    const Range lacking = {expanded, Min((band.end - 1) * kStride + 2, state.args.input.height)};
    StageInputRows(state, lacking);
    Int8ExpandAndConvolve<kStride>(state, lacking, band);
    expanded = lacking.end;
    Int8ProjectRows(state, band);
  }
}

inline void Int8InvertedResidualRun(const Int8InvertedResidualArgs& args, Range rows, void* scratch) {
  const Int8InvertedResidualState state(args, scratch);
  state.ring.FillPadding(args.shape.expanded_zero);
  if (args.shape.stride == 1) {
    Int8InvertedResidualRows<1>(state, rows);
  } else {
    Int8InvertedResidualRows<2>(state, rows);
  }
}

}  // namespace
}  // namespace mvf

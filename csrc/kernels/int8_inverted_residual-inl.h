// The 8-bit inverted residual, two output rows at a time: rings hold the expanded rows that the depthwise
// convolution still needs, so that the expanded map never exists in memory.
#pragma once

namespace mvf {
namespace {

// Rows of an expansion's tile: whole groups of pixels, and halves of such.
constexpr int RingTileRows(int64_t vectors) {
  return TileRows(static_cast<int>(vectors)) / kPixelGroup * kPixelGroup;
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

// One block of channels' part of a band: expands the input rows that its output rows lack, then convolves.
template <int kStride, int kVectors>
void Int8BlockRows(const Int8InvertedResidualState& state, Range lacking, Range band, int64_t vector,
                   const Int8Dot::Unit* panel) {
  const PixelRing<Int8Dot>& ring = state.ring;
  const Map& output = state.args.output;
  for (int64_t y = lacking.begin; y < lacking.end; ++y) {
    const RingEpilogue<Int8Dot> epilogue = {ring.Row(vector, y), ring.VectorElements(),
                                            ByteTable(state.packed.expand.table)};
    PanelTiles<Int8Dot, RingTileRows(kVectors), kVectors, false>(InputRow(state, lacking.begin, y), 0,
                                                                 ring.width, panel, epilogue, 0, Vec::kLanes);
  }
  const Int8Dot::Unit* packed = panel + Int8ExpansionSlots(state.args.shape, kVectors);
  for (int64_t i = 0; i < kVectors; ++i, packed += kInt8DepthwiseVectors<Int8Dot> * Vec::kLanes) {
    uint8_t* hidden = state.hidden + (vector + i) * Vec::kLanes;
    for (int64_t y = band.begin; y < band.end; ++y, hidden += output.width * state.hidden_stride) {
      Int8DepthwiseRow<Int8Dot, kStride>(ring.Under(vector + i, y).at, output.width, packed,
                                         state.packed.depthwise.table,
                                         {hidden, state.hidden_stride, Vec::kLanes});
    }
  }
}

// The band's depthwise output as the projection reads it.
template <class Dot>
Operand<typename Dot::Unit> StageHidden(const Int8InvertedResidualState& state, int64_t pixels) {
  const int64_t stride = state.hidden_stride;
  const typename Dot::Element* elements = state.staged_hidden;
  if constexpr (kReadsBytes) {
    elements = state.hidden;
  } else {
    StageBytes<Dot>(state.hidden, pixels * stride, pixels * stride, state.staged_hidden);
  }
  return {reinterpret_cast<const typename Dot::Unit*>(elements), stride / Dot::kUnit, 0, 1,
          Int8Units(state.args.shape.expanded)};
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
  const Operand<Int8Dot::Unit> hidden = StageHidden<Int8Dot>(state, rows * pixels);
  ForEachInt8Panel(shape.out, hidden.units, [&](int vectors, int64_t column, int64_t slot) {
    const Int8Dot::Unit* const panel = state.slots + Int8ProjectionSlot(shape) + slot;
    for (int64_t i = 0; i < rows; ++i) {
      Operand<Int8Dot::Unit> operand = hidden;
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
    ForEachInt8Block(state.args.shape, [&](int64_t vectors, int64_t vector, int64_t slot) {
      if (vectors == 2) {
        Int8BlockRows<kStride, 2>(state, lacking, band, vector, state.slots + slot);
      } else {
        Int8BlockRows<kStride, 1>(state, lacking, band, vector, state.slots + slot);
      }
    });
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

// Dense 3x3 convolution as an implicit matrix multiply: three padded input rows lie one behind the other, so
// that a row of the kernel is one contiguous run of 3 * channels and im2col never exists.
#pragma once

namespace mvf {
namespace {

// Output rows are computed in bands, so that a panel serves several rows before the next one is streamed in.
// The padded input rows of one band are gathered into scratch memory.
struct DirectBand {
  int64_t pixel_units;  // a gathered pixel: the channels of both inputs, padded to whole units
  int64_t columns;      // pixels of a gathered row
  int64_t row_units;
  int64_t rows;  // output rows of a band
};

template <class Dot, class Shape>
DirectBand MakeDirectBand(const Shape& shape, const Map& output) {
  // Half of a small second-level cache: the other half is for the panel.
  constexpr int64_t kGatheredBytes = 128 * 1024;
  DirectBand band;
  band.pixel_units = Units<Dot>(shape.in + shape.in_second);
  band.columns = shape.stride * (output.width - 1) + 3;
  band.row_units = band.columns * band.pixel_units;
  const int64_t gathered = kGatheredBytes / (band.row_units * int64_t{sizeof(typename Dot::Unit)});
  band.rows = Min(Max((gathered - 3) / shape.stride + 1, 1), output.height);
  return band;
}

template <class Dot, class Shape>
size_t DirectScratchBytes(const Shape& shape, const Map& output) {
  const DirectBand band = MakeDirectBand<Dot>(shape, output);
  return static_cast<size_t>((shape.stride * (band.rows - 1) + 3) * band.row_units) *
         sizeof(typename Dot::Unit);
}

template <class Dot>
size_t DirectPackedBytes(const Conv3x3Shape& shape) {
  return static_cast<size_t>(PanelSlots(shape.out, 9 * Units<Dot>(shape.in + shape.in_second))) *
         sizeof(Vec::Lane);
}

template <class Dot>
void DirectPack(const Conv3x3Shape& shape, const Conv3x3Weights& weights, void* packed) {
  const int64_t channels = shape.in + shape.in_second;
  const auto tap = [&](int64_t column, int64_t segment) {
    return weights.weight + (9 * column + segment) * channels;
  };
  PackPanels<Dot>(shape.out, 9, channels, tap, weights.bias, packed);
}

// `gather(y, row)` writes input row y, which may lie outside of the input, with a pixel of padding at its
// left and whatever `columns` asks for at its right. `multiply(vectors, operand, y, column, slot)` computes
// output row y of one panel.
template <class Dot, class Shape, class Gather, class Multiply>
void DirectRows(const Shape& shape, const Map& output, Range rows, void* scratch, Gather gather,
                Multiply multiply) {
  using Element = typename Dot::Element;
  using Unit = typename Dot::Unit;
  const DirectBand band = MakeDirectBand<Dot>(shape, output);
  const int64_t panel_units = kHeaderRows<Dot> - 1 + 9 * band.pixel_units;
  Unit* const gathered = static_cast<Unit*>(scratch);
  const int64_t shared_rows = 3 - shape.stride;  // of one band and the next
  int64_t present = 0;
  for (int64_t first = rows.begin; first < rows.end; first += band.rows) {
    const int64_t count = Min(band.rows, rows.end - first);
    for (int64_t i = present; i < shape.stride * (count - 1) + 3; ++i) {
      gather(shape.stride * first - 1 + i, reinterpret_cast<Element*>(gathered + i * band.row_units));
    }
    ForEachPanel(shape.out, panel_units, [&](int vectors, int64_t column, int64_t slot) {
      for (int64_t i = 0; i < count; ++i) {
        const Operand<Unit> operand{gathered + shape.stride * i * band.row_units,
                                    shape.stride * band.pixel_units, band.row_units, 3, 3 * band.pixel_units};
        multiply(vectors, operand, first + i, column, slot);
      }
    });
    __builtin_memmove(gathered, gathered + shape.stride * count * band.row_units,
                      static_cast<size_t>(shared_rows * band.row_units) * sizeof(Unit));
    present = shared_rows;
  }
}

// To a map of Out, with the shape's activation.
template <class Dot, class Out, class Gather>
void DirectRows(const Conv3x3Shape& shape, const void* packed, const Map& output, Range rows, void* scratch,
                Gather gather) {
  using Unit = typename Dot::Unit;
  const auto multiply = [&](int vectors, const Operand<Unit>& operand, int64_t y, int64_t column,
                            int64_t slot) {
    const Vec::Lane* const panel = static_cast<const Vec::Lane*>(packed) + slot;
    const Destination<Out> to{output.Row<Out>(y), output.pixel_stride, nullptr, 0};
    const int64_t left = shape.out - column;
    if (shape.activation == Activation::kSilu) {
      PanelRows<Dot, Activation::kSilu, false>(vectors, operand, 0, output.width, panel, to, column, left);
    } else {
      PanelRows<Dot, Activation::kNone, false>(vectors, operand, 0, output.width, panel, to, column, left);
    }
  };
  DirectRows<Dot>(shape, output, rows, scratch, gather, multiply);
}

template <class Element>
void ZeroElements(Element* to, int64_t count) {
  __builtin_memset(to, 0, static_cast<size_t>(count) * sizeof(Element));
}

// `pixels` pixels of `channels` channels from one stride to another.
template <class Element>
void CopyPixels(const Element* from, int64_t from_stride, Element* to, int64_t to_stride, int64_t pixels,
                int64_t channels) {
  const size_t pixel_bytes = static_cast<size_t>(channels) * sizeof(Element);
  if (from_stride == channels && to_stride == channels) {
    __builtin_memcpy(to, from, static_cast<size_t>(pixels) * pixel_bytes);
    return;
  }
  for (int64_t x = 0; x < pixels; ++x)
    __builtin_memcpy(to + x * to_stride, from + x * from_stride, pixel_bytes);
}

// One row of both inputs, interleaved pixel by pixel.
template <class Dot>
void GatherMapRow(const Conv3x3Args& args, const DirectBand& band, int64_t y, typename Dot::Element* row) {
  using Element = typename Dot::Element;
  const Conv3x3Shape& shape = args.shape;
  const int64_t pitch = band.pixel_units * Dot::kUnit;
  const int64_t channels = shape.in + shape.in_second;
  if (y < 0 || y >= args.input.height) return ZeroElements(row, band.columns * pitch);
  const int64_t pixels = Min(args.input.width, band.columns - 1);
  Element* const inside = row + pitch;
  ZeroElements(row, pitch);
  ZeroElements(inside + pixels * pitch, (band.columns - 1 - pixels) * pitch);
  CopyPixels(args.input.Row<const Element>(y), args.input.pixel_stride, inside, pitch, pixels, shape.in);
  if (shape.in_second > 0) {
    CopyPixels(args.second.Row<const Element>(y), args.second.pixel_stride, inside + shape.in, pitch, pixels,
               shape.in_second);
  }
  if (channels < pitch) {
    for (int64_t x = 0; x < pixels; ++x) ZeroElements(inside + x * pitch + channels, pitch - channels);
  }
}

template <class Dot>
void DirectRun(const Conv3x3Args& args, Range rows, void* scratch) {
  const DirectBand band = MakeDirectBand<Dot>(args.shape, args.output);
  DirectRows<Dot, typename Dot::Element>(
      args.shape, args.packed, args.output, rows, scratch,
      [&](int64_t y, typename Dot::Element* row) { GatherMapRow<Dot>(args, band, y, row); });
}

}  // namespace
}  // namespace mvf

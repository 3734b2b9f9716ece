// The dense 8-bit 3x3 convolution: the direct one over rows that are padded with the inputs' zero points.
#pragma once

namespace mvf {
namespace {

inline size_t Int8Conv3x3PackedBytes(const Int8Conv3x3Shape& shape) {
  const int64_t units = 9 * Int8Units(shape.in + shape.in_second);
  return sizeof(PackedEpilogue) + static_cast<size_t>(Int8PanelSlots(shape.out, units)) * sizeof(float);
}

inline void Int8Conv3x3Pack(const Int8Conv3x3Shape& shape, const Int8Conv3x3Weights& weights, void* packed) {
  const int64_t channels = shape.in + shape.in_second;
  const auto tap = [&](int64_t column, int64_t segment) {
    return weights.weights.weight + (9 * column + segment) * channels;
  };
  const auto correction = [&](int64_t column) {
    int64_t sum = 0;
    for (int64_t segment = 0; segment < 9; ++segment) {
      sum -= shape.input_zero * SumOfWeights(tap(column, segment), shape.in);
      sum -= shape.second_zero * SumOfWeights(tap(column, segment) + shape.in, shape.in_second);
    }
    return sum;
  };
  PackedEpilogue* const epilogue = static_cast<PackedEpilogue*>(packed);
  PackEpilogue(weights.requantization.table, Activation::kNone, epilogue);
  PackInt8Panels(0, shape.out, 9, channels, channels, tap, weights.weights.bias, weights.requantization,
                 correction, epilogue + 1);
}

// Output rows from rows that `gather` writes.
template <class Gather>
void Int8DirectRows(const Int8Conv3x3Shape& shape, const void* packed, const Map& output, Range rows,
                    void* scratch, Gather gather) {
  const PackedEpilogue* const epilogue = static_cast<const PackedEpilogue*>(packed);
  const Int8Dot::Unit* const panels = reinterpret_cast<const Int8Dot::Unit*>(epilogue + 1);
  DirectRows<Int8Dot>(
      shape, output, rows, scratch, gather,
      [&](int vectors, const Operand<Int8Dot::Unit>& operand, int64_t y, int64_t column, int64_t slot) {
        const ByteDestination to = {output.Row<uint8_t>(y), output.pixel_stride, nullptr, 0, 0.0f};
        MultiplyToBytes(*epilogue, to, [&](auto store) {
          PanelRows<Int8Dot>(vectors, operand, 0, output.width, panels + slot, store, column,
                             shape.out - column);
        });
      });
}

// A row of zero points, of which every row's padding is a part.
struct PaddingPixels {
  const Int8Dot::Element* row;
  int64_t pitch;  // elements of a pixel

  void CopyTo(Int8Dot::Element* to, int64_t pixels) const {
    __builtin_memcpy(to, row, static_cast<size_t>(pixels * pitch) * sizeof(Int8Dot::Element));
  }
};

inline void WritePadding(const Int8Conv3x3Shape& shape, int64_t pixels, int64_t pitch,
                         Int8Dot::Element* row) {
  for (int64_t x = 0; x < pixels; ++x) {
    for (int64_t c = 0; c < pitch; ++c) {
      const int32_t second = c < shape.in + shape.in_second ? shape.second_zero : 0;
      const int32_t zero = c < shape.in ? shape.input_zero : second;
      row[x * pitch + c] = static_cast<Int8Dot::Element>(zero ^ kStoredLess<Int8Dot>);
    }
  }
}

// `pixels` pixels of one input into pixels `pitch` elements apart; `last` of a pixel's elements are this
// input's and the zeros behind it.
inline void StagePixels(const uint8_t* from, int64_t from_stride, int64_t channels, int64_t pixels,
                        int64_t last, int64_t pitch, Int8Dot::Element* to) {
  if (from_stride == channels && pitch == channels) {
    return StageBytes<Int8Dot>(from, pixels * channels, pixels * channels, to);
  }
  for (int64_t x = 0; x < pixels; ++x)
    StageBytes<Int8Dot>(from + x * from_stride, channels, last, to + x * pitch);
}

inline void GatherInt8Row(const Int8Conv3x3Args& args, const DirectBand& band, const PaddingPixels& padding,
                          int64_t y, Int8Dot::Element* row) {
  const Int8Conv3x3Shape& shape = args.shape;
  if (y < 0 || y >= args.input.height) return padding.CopyTo(row, band.columns);
  const int64_t pixels = Min(args.input.width, band.columns - 1);
  Int8Dot::Element* const inside = row + padding.pitch;
  padding.CopyTo(row, 1);
  padding.CopyTo(inside + pixels * padding.pitch, band.columns - 1 - pixels);
  const bool two = shape.in_second > 0;
  StagePixels(args.input.Row<const uint8_t>(y), args.input.pixel_stride, shape.in, pixels,
              two ? shape.in : padding.pitch, padding.pitch, inside);
  if (!two) return;
  StagePixels(args.second.Row<const uint8_t>(y), args.second.pixel_stride, shape.in_second, pixels,
              padding.pitch - shape.in, padding.pitch, inside + shape.in);
}

// Scratch: the gathered rows, then a row of padding.
inline size_t Int8GatheredBytes(const Int8Conv3x3Shape& shape, const Map& output) {
  const int64_t bytes = static_cast<int64_t>(DirectScratchBytes<Int8Dot>(shape, output));
  return static_cast<size_t>(RoundUp(bytes, int64_t{kAlignment}));
}
inline size_t Int8PaddingBytes(const Int8Conv3x3Shape& shape, const Map& output) {
  const DirectBand band = MakeDirectBand<Int8Dot>(shape, output);
  return static_cast<size_t>(RoundUp(band.row_units * int64_t{sizeof(Int8Dot::Unit)}, int64_t{kAlignment}));
}
inline PaddingPixels MakePadding(const Int8Conv3x3Shape& shape, const DirectBand& band, void* memory) {
  Int8Dot::Element* const row = static_cast<Int8Dot::Element*>(memory);
  const int64_t pitch = band.pixel_units * Int8Dot::kUnit;
  WritePadding(shape, band.columns, pitch, row);
  return {row, pitch};
}

inline size_t Int8Conv3x3ScratchBytes(const Int8Conv3x3Args& args) {
  return Int8GatheredBytes(args.shape, args.output) + Int8PaddingBytes(args.shape, args.output);
}

inline void Int8Conv3x3Run(const Int8Conv3x3Args& args, Range rows, void* scratch) {
  const DirectBand band = MakeDirectBand<Int8Dot>(args.shape, args.output);
  const PaddingPixels padding =
      MakePadding(args.shape, band, static_cast<char*>(scratch) + Int8GatheredBytes(args.shape, args.output));
  Int8DirectRows(args.shape, args.packed, args.output, rows, scratch,
                 [&](int64_t y, Int8Dot::Element* row) { GatherInt8Row(args, band, padding, y, row); });
}

}  // namespace
}  // namespace mvf

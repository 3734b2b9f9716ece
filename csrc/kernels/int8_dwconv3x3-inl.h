// The 8-bit depthwise 3x3 convolution of a map: its rows are brought into rings, vector by vector.
#pragma once

namespace mvf {
namespace {

// Packed: the table, then the vectors of channels.
inline size_t Int8DwConv3x3PackedBytes(const Int8DwConv3x3Shape& shape) {
  return sizeof(PackedEpilogue) +
         static_cast<size_t>(ColumnVectors(shape.channels) * kInt8DepthwiseVectors<Int8Dot> * Vec::kLanes) *
             sizeof(Int8Dot::Unit);
}

inline void Int8DwConv3x3Pack(const Int8DwConv3x3Shape& shape, const Int8DwConv3x3Weights& weights,
                              void* packed) {
  PackedEpilogue* const epilogue = static_cast<PackedEpilogue*>(packed);
  PackTable(weights.requantization.table, epilogue);
  Int8Dot::Unit* to = reinterpret_cast<Int8Dot::Unit*>(epilogue + 1);
  for (int64_t c = 0; c < shape.channels; c += Vec::kLanes) {
    PackInt8Depthwise<Int8Dot>(weights.weights, weights.requantization, shape.input_zero, shape.channels, c,
                               to);
    to += kInt8DepthwiseVectors<Int8Dot> * Vec::kLanes;
  }
}

inline PixelRing<Int8Dot> RingOf(const Int8DwConv3x3Args& args, void* scratch) {
  return {args.input, args.output.width, args.shape.channels, args.shape.stride, 3, scratch};
}

inline size_t Int8DwConv3x3ScratchBytes(const Int8DwConv3x3Args& args) {
  return RingOf(args, nullptr).Bytes();
}

// Less than four pixels, or less than a vector of channels, in order.
inline ByteVec GatherSome(const uint8_t* from, int64_t pixel_stride, int64_t pixels, int lanes) {
  uint8_t bytes[ByteVec::kBytes] = {};
  for (int64_t i = 0; i < pixels; ++i) {
    __builtin_memcpy(bytes + i * Vec::kLanes, from + i * pixel_stride, static_cast<size_t>(lanes));
  }
  return ByteVec::Load(bytes);
}

// Row y of every vector of channels.
inline void GatherIntoRing(const Map& input, int64_t y, const PixelRing<Int8Dot>& ring) {
  for (int64_t vector = 0; vector < ring.vectors; ++vector) {
    const int64_t c = vector * Vec::kLanes;
    const int lanes = static_cast<int>(Min(input.channels - c, Vec::kLanes));
    Int8Dot::Element* const row = ring.Row(vector, y);
    for (int64_t x = 0; x < input.width; x += kPixelGroup) {
      const int64_t pixels = Min(input.width - x, kPixelGroup);
      const uint8_t* const from = input.Pixel<const uint8_t>(y, x) + c;
      const bool whole = pixels == kPixelGroup && lanes == Vec::kLanes;
      const ByteVec blocks = (whole ? ByteVec::LoadQuarters(from, input.pixel_stride)
                                    : GatherSome(from, input.pixel_stride, pixels, lanes))
                                 .OrderedToBlocks();
      if (pixels == kPixelGroup) {
        StoreToRing<Int8Dot>(blocks, x, row);
      } else {
        StoreSomeToRing<Int8Dot>(blocks, x, pixels, row);
      }
    }
  }
}

template <int kStride>
void Int8DwConv3x3Rows(const Int8DwConv3x3Args& args, Range rows, const PixelRing<Int8Dot>& ring) {
  const PackedEpilogue* const epilogue = static_cast<const PackedEpilogue*>(args.packed);
  int64_t gathered = Max(rows.begin * kStride - 1, 0);
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    for (const int64_t end = Min(y * kStride + 2, args.input.height); gathered < end; ++gathered) {
      GatherIntoRing(args.input, gathered, ring);
    }
    const Int8Dot::Unit* packed = reinterpret_cast<const Int8Dot::Unit*>(epilogue + 1);
    for (int64_t vector = 0; vector < ring.vectors; ++vector) {
      const int64_t c = vector * Vec::kLanes;
      const MapPixels to = {args.output.Row<uint8_t>(y) + c, 0, args.output.pixel_stride,
                            static_cast<int>(Min(args.shape.channels - c, Vec::kLanes))};
      Int8DepthwiseRows<Int8Dot, kStride, 1>(ring.Under(vector, y).at, args.output.width, packed,
                                             epilogue->table, to);
      packed += kInt8DepthwiseVectors<Int8Dot> * Vec::kLanes;
    }
  }
}

inline void Int8DwConv3x3Run(const Int8DwConv3x3Args& args, Range rows, void* scratch) {
  const PixelRing<Int8Dot> ring = RingOf(args, scratch);
  ring.FillPadding(args.shape.input_zero);
  if (args.shape.stride == 1) {
    Int8DwConv3x3Rows<1>(args, rows, ring);
  } else {
    Int8DwConv3x3Rows<2>(args, rows, ring);
  }
}

}  // namespace
}  // namespace mvf

// Depthwise 3x3 convolution of a map that has no padding of its own: the rows and columns outside it are left
// out.
#pragma once

namespace mvf {
namespace {

inline size_t DwConv3x3PackedBytes(const DwConv3x3Shape& shape) {
  return ColumnVectors(shape.channels) * kDepthwiseVectors * Vec::kLanes * sizeof(Vec::Lane);
}

inline void DwConv3x3Pack(const DwConv3x3Shape& shape, const DwConv3x3Weights& weights, void* packed) {
  Vec::Lane* to = static_cast<Vec::Lane*>(packed);
  for (int64_t c = 0; c < shape.channels; c += Vec::kLanes, to += kDepthwiseVectors * Vec::kLanes) {
    PackDepthwise(weights, shape.channels, c, 1.0f, to);
  }
}

// How far a row's last pixel lies from its first, in either direction.
inline int64_t RowSpan(const Map& map) {
  const int64_t span = (map.width - 1) * map.pixel_stride;
  return span < 0 ? -span : span;
}

// A row of zeros that stands in for the rows above and below the map, walked by the map's own strides.
template <class Dot>
size_t DwConv3x3ScratchBytes(const DwConv3x3Args& args) {
  return (RowSpan(args.input) + args.shape.channels) * sizeof(typename Dot::Element);
}

// One pixel at the map's left or right edge: only the columns [first_tap, end_tap) of the kernel lie on the
// map.
template <class Lanes, class Element>
MVF_INLINE Vec EdgeSum(const Element* const rows[3], int64_t pixel_stride, int64_t width, int64_t left,
                       const Vec::Lane* packed, Lanes lanes) {
  const int64_t first_tap = left < 0 ? 1 : 0, end_tap = Min(3, width - left);
  Vec sum = Vec::Load(packed);
  for (int64_t y = 0; y < 3; ++y) {
    for (int64_t tap = first_tap; tap < end_tap; ++tap) {
      const Vec value = lanes.Load(rows[y] + (left + tap) * pixel_stride);
      sum = MulAdd(value, Vec::Load(packed + (1 + y * 3 + tap) * Vec::kLanes), sum);
    }
  }
  return sum;
}

template <int kStride, Activation kActivation, class Lanes, class Element>
MVF_INLINE void EdgePixel(const Element* const rows[3], int64_t pixel_stride, int64_t width, int64_t x,
                          const Vec::Lane* packed, Lanes lanes, Element* out) {
  const Vec sum = EdgeSum(rows, pixel_stride, width, x * kStride - 1, packed, lanes);
  lanes.Store(Activate<kActivation>(sum), out);
}

// All rows as if they were edges: no model has such a layer by itself.
template <class Dot>
void CompactDwConv3x3(const DwConv3x3Args& args, Range range, const typename Dot::Element* zeros) {
  using Element = typename Dot::Element;
  const Map &input = args.input, &output = args.output;
  for (int64_t y = range.begin; y < range.end; ++y) {
    const Vec::Lane* packed = static_cast<const Vec::Lane*>(args.packed);
    ForEachVector(0, args.shape.channels, [&](int64_t c, auto lanes) {
      const Element* rows[3];
      for (int i = 0; i < 3; ++i) {
        const int64_t in_y = y * args.shape.stride - 1 + i;
        rows[i] = (in_y < 0 || in_y >= input.height ? zeros : input.Row<Element>(in_y)) + c;
      }
      for (int64_t x = 0; x < output.width; ++x) {
        const int64_t left = x * args.shape.stride - 1;
        const Vec sum = EdgeSum(rows, input.pixel_stride, input.width, left, packed, lanes);
        const bool silu = args.shape.activation == Activation::kSilu;
        lanes.Store(silu ? Silu(sum) : sum, output.Pixel<Element>(y, x) + c);
      }
      packed += kDepthwiseVectors * Vec::kLanes;
    });
  }
}

// Output rows [y, y + kRows).
template <class Dot, int kStride, int kRows, Activation kActivation>
void DwConv3x3Rows(const DwConv3x3Args& args, int64_t y, const typename Dot::Element* zeros) {
  using Element = typename Dot::Element;
  const Map &input = args.input, &output = args.output;
  const int64_t pixel_stride = input.pixel_stride;
  // Pixels [1, inner_end) have the whole kernel on the map as far as columns go.
  const int64_t inner_end = input.width < 2 ? 1 : Max((input.width - 2) / kStride + 1, 1);
  const Vec::Lane* packed = static_cast<const Vec::Lane*>(args.packed);
  ForEachVector(0, args.shape.channels, [&](int64_t c, auto lanes) {
    const Element* in[kRows + 2];
    for (int i = 0; i < kRows + 2; ++i) {
      const int64_t in_y = y * kStride - 1 + i;
      in[i] = (in_y < 0 || in_y >= input.height ? zeros : input.Row<Element>(in_y)) + c;
    }
    DepthwiseRows<Element, Element, int64_t> rows = {{}, pixel_stride, {}, output.pixel_stride};
    for (int i = 0; i < kRows + 2; ++i) rows.in[i] = in[i] + (kStride - 1) * pixel_stride;
    for (int i = 0; i < kRows; ++i) {
      Element* out = output.Row<Element>(y + i) + c;
      rows.out[i] = out + output.pixel_stride;
      EdgePixel<kStride, kActivation>(in + i, pixel_stride, input.width, 0, packed, lanes, out);
      for (int64_t x = inner_end; x < output.width; ++x) {
        EdgePixel<kStride, kActivation>(in + i, pixel_stride, input.width, x, packed, lanes,
                                        out + x * output.pixel_stride);
      }
    }
    if (inner_end > 1) DepthwiseSpan<kStride, kRows, kActivation>(rows, inner_end - 1, packed, lanes);
    packed += kDepthwiseVectors * Vec::kLanes;
  });
}

// The scratch memory as its row of zeros; returns where the first pixel's lie.
template <class Dot>
typename Dot::Element* ZeroRow(const DwConv3x3Args& args, void* scratch) {
  using Element = typename Dot::Element;
  Element* zeros = static_cast<Element*>(scratch);
  const int64_t elements = DwConv3x3ScratchBytes<Dot>(args) / sizeof(Element);
  for (int64_t i = 0; i < elements; ++i) zeros[i] = Element{};
  return args.input.pixel_stride < 0 ? zeros + RowSpan(args.input) : zeros;
}

template <class Dot, int kStride, Activation kActivation>
void DwConv3x3Range(const DwConv3x3Args& args, Range rows, void* scratch) {
  const auto* const zeros = ZeroRow<Dot>(args, scratch);
  int64_t y = rows.begin;
  if constexpr (kStride == 1) {
    for (; y + 2 <= rows.end; y += 2) DwConv3x3Rows<Dot, kStride, 2, kActivation>(args, y, zeros);
  }
  for (; y < rows.end; ++y) DwConv3x3Rows<Dot, kStride, 1, kActivation>(args, y, zeros);
}

template <class Dot>
void DwConv3x3Run(const DwConv3x3Args& args, Range rows, void* scratch) {
  if constexpr (kIsCompact<Dot>) {
    CompactDwConv3x3<Dot>(args, rows, ZeroRow<Dot>(args, scratch));
  } else {
    const bool silu = args.shape.activation == Activation::kSilu;
    if (args.shape.stride == 1) {
      if (silu) return DwConv3x3Range<Dot, 1, Activation::kSilu>(args, rows, scratch);
      return DwConv3x3Range<Dot, 1, Activation::kNone>(args, rows, scratch);
    }
    if (silu) return DwConv3x3Range<Dot, 2, Activation::kSilu>(args, rows, scratch);
    return DwConv3x3Range<Dot, 2, Activation::kNone>(args, rows, scratch);
  }
}

}  // namespace
}  // namespace mvf

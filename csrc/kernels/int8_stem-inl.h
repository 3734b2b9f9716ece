// The network's first convolution over bytes: its rows are gathered from a float image of any strides and
// quantised on the way.
#pragma once

namespace mvf {
namespace {

// One row of the image, channel by channel, as bytes `plane_bytes` apart. `floats` is room for a row.
inline void QuantizeImageRow(const Image& image, int64_t y, int64_t pixels, Quantizer quantizer,
                             float* floats, uint8_t* planes, int64_t plane_bytes) {
  const RowMoments none = {Vec::Zero(), Vec::Set(1.0f)};
  for (int64_t c = 0; c < image.channels; ++c) {
    const float* from = image.data + c * image.channel_stride + y * image.row_stride;
    if (image.column_stride != 1) {
      for (int64_t x = 0; x < pixels; ++x) floats[x] = from[x * image.column_stride];
      from = floats;
    }
    QuantizeRow(from, pixels, none, quantizer, planes + c * plane_bytes);
  }
}

// Planes of bytes to pixels of `pitch` elements, of which those behind the channels are zeros.
template <class Dot>
void InterleavePlanes(const uint8_t* planes, int64_t plane_bytes, int64_t channels, int64_t pixels,
                      int64_t pitch, typename Dot::Element* to) {
  using Element = typename Dot::Element;
  if (channels == 3 && pitch == 4) {
    // Whole pixels at once, which the compiler turns into vectors.
    using Pixel = std::conditional_t<sizeof(Element) == 1, uint32_t, uint64_t>;
    constexpr int kShift = 8 * sizeof(Element);
    constexpr Pixel kLess = Pixel{kStoredLess<Dot>} * (1 | Pixel{1} << kShift | Pixel{1} << (2 * kShift));
    const uint8_t* const second = planes + plane_bytes;
    const uint8_t* const third = second + plane_bytes;
    for (int64_t x = 0; x < pixels; ++x) {
      const Pixel pixel = planes[x] | Pixel{second[x]} << kShift | Pixel{third[x]} << (2 * kShift);
      const Pixel stored = pixel ^ kLess;
      __builtin_memcpy(to + 4 * x, &stored, sizeof(stored));
    }
    return;
  }
  for (int64_t x = 0; x < pixels; ++x) {
    for (int64_t c = 0; c < pitch; ++c) {
      to[x * pitch + c] = c < channels ? planes[c * plane_bytes + x] ^ kStoredLess<Dot> : 0;
    }
  }
}

// Scratch: the gathered rows, a row of padding, a row of floats, a row of each channel.
struct Int8StemScratch {
  int64_t plane_bytes;
  size_t padding;
  size_t floats;
  size_t planes;
  size_t size;

  explicit Int8StemScratch(const Int8StemArgs& args) {
    plane_bytes = RoundUp(args.input.width, int64_t{kAlignment});
    padding = Int8GatheredBytes(args.shape, args.output);
    floats = padding + Int8PaddingBytes(args.shape, args.output);
    planes = floats + static_cast<size_t>(plane_bytes) * sizeof(float);
    size = planes + static_cast<size_t>(args.input.channels * plane_bytes);
  }
};

inline size_t Int8StemScratchBytes(const Int8StemArgs& args) { return Int8StemScratch(args).size; }

inline void Int8StemRun(const Int8StemArgs& args, Range rows, void* scratch) {
  const Int8StemScratch parts(args);
  char* const start = static_cast<char*>(scratch);
  float* const floats = reinterpret_cast<float*>(start + parts.floats);
  uint8_t* const planes = reinterpret_cast<uint8_t*>(start + parts.planes);
  const DirectBand band = MakeDirectBand<Int8Dot>(args.shape, args.output);
  const PaddingPixels padding = MakePadding(args.shape, band, start + parts.padding);
  const Quantizer quantizer = Quantizer::Of(args.shape.input_scale, args.shape.input_zero);
  const Image& image = args.input;
  const auto gather = [&](int64_t y, Int8Dot::Element* row) {
    if (y < 0 || y >= image.height) return padding.CopyTo(row, band.columns);
    const int64_t pixels = Min(image.width, band.columns - 1);
    padding.CopyTo(row, 1);
    padding.CopyTo(row + (1 + pixels) * padding.pitch, band.columns - 1 - pixels);
    QuantizeImageRow(image, y, pixels, quantizer, floats, planes, parts.plane_bytes);
    InterleavePlanes<Int8Dot>(planes, parts.plane_bytes, image.channels, pixels, padding.pitch,
                              row + padding.pitch);
  };
  Int8DirectRows(args.shape, args.packed, args.output, rows, scratch, gather);
}

}  // namespace
}  // namespace mvf

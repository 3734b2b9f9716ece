// The network's first convolution: a direct 3x3 convolution whose rows are gathered from a float image of any
// strides. It multiplies floats in every table: three channels fill no wider unit, and the image keeps its
// digits.
#pragma once

namespace mvf {
namespace {

// One row of the image as pixels of `pitch` floats, of which those behind the channels are zeros.
inline void InterleaveImageRow(const Image& image, int64_t y, int64_t pixels, int64_t pitch, float* row) {
  const float* const from = image.data + y * image.row_stride;
  if (image.column_stride == 1 && image.channels == 3 && pitch == 3) {
    // Planar RGB, as nearly every caller holds it; three known streams let the compiler shuffle whole
    // vectors.
    const float* __restrict red = from;
    const float* __restrict green = from + image.channel_stride;
    const float* __restrict blue = from + 2 * image.channel_stride;
    float* __restrict to = row;
    for (int64_t x = 0; x < pixels; ++x) {
      to[3 * x] = red[x];
      to[3 * x + 1] = green[x];
      to[3 * x + 2] = blue[x];
    }
    return;
  }
  if (image.channel_stride == 1 && pitch == image.channels) {
    return CopyPixels(from, image.column_stride, row, pitch, pixels, image.channels);
  }
  for (int64_t x = 0; x < pixels; ++x) {
    for (int64_t c = 0; c < pitch; ++c) {
      row[x * pitch + c] =
          c < image.channels ? from[c * image.channel_stride + x * image.column_stride] : 0.0f;
    }
  }
}

inline void GatherImageRow(const Image& image, const DirectBand& band, int64_t y, float* row) {
  const int64_t pitch = band.pixel_units;
  if (y < 0 || y >= image.height) return ZeroElements(row, band.columns * pitch);
  const int64_t pixels = Min(image.width, band.columns - 1);
  ZeroElements(row, pitch);
  ZeroElements(row + (1 + pixels) * pitch, (band.columns - 1 - pixels) * pitch);
  InterleaveImageRow(image, y, pixels, pitch, row + pitch);
}

inline size_t StemScratchBytes(const StemArgs& args) {
  return DirectScratchBytes<DotF32>(args.shape, args.output);
}

template <class Element>
void StemRun(const StemArgs& args, Range rows, void* scratch) {
  const DirectBand band = MakeDirectBand<DotF32>(args.shape, args.output);
  DirectRows<DotF32, Element>(args.shape, args.packed, args.output, rows, scratch,
                              [&](int64_t y, float* row) { GatherImageRow(args.input, band, y, row); });
}

}  // namespace
}  // namespace mvf

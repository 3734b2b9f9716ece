// The network's first convolution: a direct 3x3 convolution whose rows are gathered from a float image of any
// strides.
#pragma once

namespace mvf {
namespace {

// One row of the image as pixels of `pitch` elements, of which those behind the channels are zeros.
template <class Element>
void InterleaveImageRow(const Image& image, int64_t y, int64_t pixels, int64_t pitch, Element* row) {
  const float* const from = image.data + y * image.row_stride;
  if (image.column_stride == 1 && image.channels == 3 && pitch == 3) {
    // Planar RGB, as nearly every caller holds it; three known streams let the compiler shuffle whole
    // vectors.
    const float* __restrict red = from;
    const float* __restrict green = from + image.channel_stride;
    const float* __restrict blue = from + 2 * image.channel_stride;
    Element* __restrict to = row;
    for (int64_t x = 0; x < pixels; ++x) {
      to[3 * x] = ToLane(red[x]);
      to[3 * x + 1] = ToLane(green[x]);
      to[3 * x + 2] = ToLane(blue[x]);
    }
    return;
  }
  if constexpr (sizeof(Element) == sizeof(float)) {
    if (image.channel_stride == 1 && pitch == image.channels) {
      return CopyPixels(from, image.column_stride, row, pitch, pixels, image.channels);
    }
  }
  for (int64_t x = 0; x < pixels; ++x) {
    for (int64_t c = 0; c < pitch; ++c) {
      row[x * pitch + c] =
          ToLane(c < image.channels ? from[c * image.channel_stride + x * image.column_stride] : 0.0f);
    }
  }
}

template <class Element>
void GatherImageRow(const Image& image, const DirectBand& band, int64_t y, Element* row) {
  const int64_t pitch = band.pixel_units;
  if (y < 0 || y >= image.height) return ZeroElements(row, band.columns * pitch);
  const int64_t pixels = Min(image.width, band.columns - 1);
  ZeroElements(row, pitch);
  ZeroElements(row + (1 + pixels) * pitch, (band.columns - 1 - pixels) * pitch);
  InterleaveImageRow(image, y, pixels, pitch, row + pitch);
}

template <class Dot>
size_t StemScratchBytes(const StemArgs& args) {
  return DirectScratchBytes<typename Dot::Image>(args.shape, args.output);
}

template <class Dot>
void StemRun(const StemArgs& args, Range rows, void* scratch) {
  using Image = typename Dot::Image;
  const DirectBand band = MakeDirectBand<Image>(args.shape, args.output);
  DirectRows<Image, typename Dot::Element>(
      args.shape, args.packed, args.output, rows, scratch,
      [&](int64_t y, typename Image::Element* row) { GatherImageRow(args.input, band, y, row); });
}

}  // namespace
}  // namespace mvf

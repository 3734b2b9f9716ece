// The network's first convolution: a direct 3x3 convolution whose rows are gathered from a float image of any
// strides.
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

template <class Element>
void ConvertElements(const float* from, Element* to, int64_t count) {
  int64_t i = 0;
  for (; i + Vec::kLanes <= count; i += Vec::kLanes) Vec::Load(from + i).Store(to + i);
  if (i < count) {
    const int lanes = static_cast<int>(count - i);
    Vec::LoadPartial(from + i, lanes).StorePartial(to + i, lanes);
  }
}

// `floats` is room for one row where maps do not hold floats.
template <class Dot>
void GatherImageRow(const Image& image, const DirectBand& band, int64_t y, typename Dot::Element* row,
                    float* floats) {
  const int64_t pitch = band.pixel_units * Dot::kUnit;
  if (y < 0 || y >= image.height) return ZeroElements(row, band.columns * pitch);
  const int64_t pixels = Min(image.width, band.columns - 1);
  ZeroElements(row, pitch);
  ZeroElements(row + (1 + pixels) * pitch, (band.columns - 1 - pixels) * pitch);
  if constexpr (Dot::kUnit == 1) {
    InterleaveImageRow(image, y, pixels, pitch, row + pitch);
  } else {
    InterleaveImageRow(image, y, pixels, pitch, floats);
    ConvertElements(floats, row + pitch, pixels * pitch);
  }
}

template <class Dot>
size_t StemRowsBytes(const StemArgs& args) {
  return static_cast<size_t>(
      RoundUp(static_cast<int64_t>(DirectScratchBytes<Dot>(args.shape, args.output)), int64_t{kAlignment}));
}

template <class Dot>
size_t StemScratchBytes(const StemArgs& args) {
  const DirectBand band = MakeDirectBand<Dot>(args.shape, args.output);
  const int64_t floats = Dot::kUnit == 1 ? 0 : band.row_units * Dot::kUnit;
  return StemRowsBytes<Dot>(args) + static_cast<size_t>(floats) * sizeof(float);
}

template <class Dot>
void StemRun(const StemArgs& args, Range rows, void* scratch) {
  const DirectBand band = MakeDirectBand<Dot>(args.shape, args.output);
  float* const floats = reinterpret_cast<float*>(static_cast<char*>(scratch) + StemRowsBytes<Dot>(args));
  DirectRows<Dot>(
      args.shape, args.packed, args.output, rows, scratch,
      [&](int64_t y, typename Dot::Element* row) { GatherImageRow<Dot>(args.input, band, y, row, floats); });
}

}  // namespace
}  // namespace mvf

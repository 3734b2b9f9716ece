// Pillow's Image.resize: a pass over the columns, then one over the rows, bytes in between.
#include "image/resample.h"

#include <algorithm>

#include "image/taps.h"

namespace mvf {
namespace {

constexpr int64_t kChannels = 3;

// Part of an image that somebody else holds.
struct Part {
  const uint8_t* data;
  int64_t top;
  int64_t left;
  int64_t row_bytes;

  const uint8_t* At(int64_t y, int64_t x) const {
    return data + (y - top) * row_bytes + (x - left) * kChannels;
  }
};

// The same, in memory of its own.
struct Block {
  Extent rows;
  Extent columns;
  std::vector<uint8_t> bytes;

  Block(Extent rows, Extent columns)
      : rows(rows), columns(columns), bytes(static_cast<size_t>(rows.count * columns.count * kChannels)) {}
  Part part() const { return {bytes.data(), rows.first, columns.first, columns.count * kChannels}; }
  uint8_t* Row(int64_t y) { return bytes.data() + (y - rows.first) * columns.count * kChannels; }
};

// `stride` bytes between the inputs of one output byte.
uint8_t WeightedByte(const uint8_t* input, int64_t stride, const Taps& taps) {
  int32_t sum = 1 << (kWeightBits - 1);
  for (int32_t weight : taps.weights) {
    sum += *input * weight;
    input += stride;
  }
  return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

Block ResizeWidth(const Part& from, Extent rows, Extent columns, const std::vector<Taps>& taps) {
  Block result(rows, columns);
  for (int64_t y = rows.first; y < rows.first + rows.count; ++y) {
    uint8_t* out = result.Row(y);
    for (const Taps& column : taps) {
      const uint8_t* input = from.At(y, column.first);
      for (int64_t c = 0; c < kChannels; ++c) *out++ = WeightedByte(input + c, kChannels, column);
    }
  }
  return result;
}

Block ResizeHeight(const Part& from, Extent rows, Extent columns, const std::vector<Taps>& taps) {
  Block result(rows, columns);
  const int64_t bytes = columns.count * kChannels;
  for (int64_t i = 0; i < rows.count; ++i) {
    const Taps& row = taps[static_cast<size_t>(i)];
    const uint8_t* input = from.At(row.first, columns.first);
    uint8_t* out = result.Row(rows.first + i);
    for (int64_t x = 0; x < bytes; ++x) out[x] = WeightedByte(input + x, from.row_bytes, row);
  }
  return result;
}

Block Crop(const Part& from, Extent rows, Extent columns) {
  Block result(rows, columns);
  for (int64_t y = rows.first; y < rows.first + rows.count; ++y) {
    std::copy_n(from.At(y, columns.first), columns.count * kChannels, result.Row(y));
  }
  return result;
}

}  // namespace

std::vector<uint8_t> Resample(const RgbImage& image, ImageSize size, Filter filter, const Window& window) {
  const Part whole{image.data, 0, 0, image.row_bytes};
  const Extent rows{window.top, window.size.height}, columns{window.left, window.size.width};
  const bool resizes_height = size.height != image.size.height;
  const bool resizes_width = size.width != image.size.width;
  if (!resizes_height && !resizes_width) return Crop(whole, rows, columns).bytes;

  std::vector<Taps> row_taps, column_taps;
  if (resizes_height) row_taps = TapsOf(image.size.height, size.height, filter, rows.first, rows.count);
  if (resizes_width) column_taps = TapsOf(image.size.width, size.width, filter, columns.first, columns.count);
  if (!resizes_width) return ResizeHeight(whole, rows, columns, row_taps).bytes;
  if (!resizes_height) return ResizeWidth(whole, rows, columns, column_taps).bytes;
  if (BeginsWithHeight(image.size, size)) {
    const Block low = ResizeHeight(whole, rows, InputsOf(column_taps), row_taps);
    return ResizeWidth(low.part(), rows, columns, column_taps).bytes;
  }
  const Block narrow = ResizeWidth(whole, InputsOf(row_taps), columns, column_taps);
  return ResizeHeight(narrow.part(), rows, columns, row_taps).bytes;
}

}  // namespace mvf

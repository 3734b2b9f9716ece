// Pillow's Image.resize, that is libImaging's Resample.c and, for the nearest pixel, Geometry.c: the weights
// of each output row and column in 22 bits, a pass over the columns, then one over the rows, bytes in
// between.
#include "image/resample.h"

#include <algorithm>
#include <cmath>

namespace mvf {
namespace {

constexpr int64_t kChannels = 3;
constexpr int kWeightBits = 32 - 8 - 2;
constexpr double kPi = 3.14159265358979323846;

double Box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double Bilinear(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double Hamming(double x) {
  x = std::fabs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= kPi;
  return std::sin(x) / x * (0.54 + 0.46 * std::cos(x));
}

double Bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double Sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= kPi;
  return std::sin(x) / x;
}

double Lanczos(double x) { return -3.0 <= x && x < 3.0 ? Sinc(x) * Sinc(x / 3) : 0.0; }

struct Kernel {
  double (*weight)(double);
  double support;
};

Kernel KernelOf(Filter filter) {
  switch (filter) {
    case Filter::kLanczos:
      return {Lanczos, 3.0};
    case Filter::kBicubic:
      return {Bicubic, 2.0};
    case Filter::kBox:
      return {Box, 0.5};
    case Filter::kHamming:
      return {Hamming, 1.0};
    default:
      return {Bilinear, 1.0};
  }
}

// What makes up one output row or column: inputs from `first`, weighted.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

// For outputs `begin` to `begin + count` of an edge resized from `in` pixels to `out`.
std::vector<Taps> TapsOf(int64_t in, int64_t out, const Kernel& kernel, int64_t begin, int64_t count) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0);
  const double support = kernel.support * stretch;
  const double step = 1.0 / stretch;
  std::vector<Taps> all(static_cast<size_t>(count));
  std::vector<double> weights;
  for (int64_t i = 0; i < count; ++i) {
    const double center = (static_cast<double>(begin + i) + 0.5) * scale;
    // Casts round towards zero, as Pillow's do.
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const int64_t last = std::min(static_cast<int64_t>(center + support + 0.5), in);
    weights.clear();
    double sum = 0.0;
    for (int64_t x = first; x < last; ++x) {
      weights.push_back(kernel.weight((static_cast<double>(x) - center + 0.5) * step));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<size_t>(i)];
    taps.first = first;
    for (double weight : weights) {
      if (sum != 0.0) weight /= sum;
      const double scaled = weight * (1 << kWeightBits);
      taps.weights.push_back(static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return all;
}

// Rows or columns.
struct Extent {
  int64_t first = 0;
  int64_t count = 0;
};

// The inputs that any of the outputs needs.
Extent InputsOf(const std::vector<Taps>& taps) {
  const int64_t first = taps.front().first;
  return {first, taps.back().first + static_cast<int64_t>(taps.back().weights.size()) - first};
}

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

// Since version 13 Pillow begins with the height where that loses more than twice as many pixels as the
// width.
bool BeginsWithHeight(ImageSize from, ImageSize to) {
  return to.height < from.height && from.height - to.height > 2 * (from.width - to.width);
}

std::vector<uint8_t> Convolve(const RgbImage& image, ImageSize size, const Kernel& kernel,
                              const Window& window) {
  const Part whole{image.data, 0, 0, image.row_bytes};
  const Extent rows{window.top, window.size.height}, columns{window.left, window.size.width};
  const bool resizes_height = size.height != image.size.height;
  const bool resizes_width = size.width != image.size.width;
  if (!resizes_height && !resizes_width) return Crop(whole, rows, columns).bytes;

  std::vector<Taps> row_taps, column_taps;
  if (resizes_height) row_taps = TapsOf(image.size.height, size.height, kernel, rows.first, rows.count);
  if (resizes_width) column_taps = TapsOf(image.size.width, size.width, kernel, columns.first, columns.count);
  if (!resizes_width) return ResizeHeight(whole, rows, columns, row_taps).bytes;
  if (!resizes_height) return ResizeWidth(whole, rows, columns, column_taps).bytes;
  if (BeginsWithHeight(image.size, size)) {
    const Block low = ResizeHeight(whole, rows, InputsOf(column_taps), row_taps);
    return ResizeWidth(low.part(), rows, columns, column_taps).bytes;
  }
  const Block narrow = ResizeWidth(whole, InputsOf(row_taps), columns, column_taps);
  return ResizeHeight(narrow.part(), rows, columns, row_taps).bytes;
}

// The input pixel of each output pixel, -1 for none. Pillow adds up positions, and their rounding with them.
std::vector<int64_t> NearestOf(int64_t in, int64_t out, int64_t end) {
  const double step = static_cast<double>(in) / static_cast<double>(out);
  std::vector<int64_t> inputs;
  double position = step * 0.5;
  for (int64_t i = 0; i < end; ++i, position += step) {
    const auto input = static_cast<int64_t>(position);
    inputs.push_back(input < in ? input : -1);
  }
  return inputs;
}

std::vector<uint8_t> PickNearest(const RgbImage& image, ImageSize size, const Window& window) {
  const int64_t bottom = window.top + window.size.height, right = window.left + window.size.width;
  const std::vector<int64_t> rows = NearestOf(image.size.height, size.height, bottom);
  const std::vector<int64_t> columns = NearestOf(image.size.width, size.width, right);
  const Part whole{image.data, 0, 0, image.row_bytes};
  Block result({window.top, window.size.height}, {window.left, window.size.width});
  for (int64_t y = window.top; y < bottom; ++y) {
    uint8_t* out = result.Row(y);
    for (int64_t x = window.left; x < right; ++x, out += kChannels) {
      const int64_t row = rows[static_cast<size_t>(y)], column = columns[static_cast<size_t>(x)];
      if (row >= 0 && column >= 0) std::copy_n(whole.At(row, column), kChannels, out);
    }
  }
  return std::move(result.bytes);
}

}  // namespace

std::vector<uint8_t> Resample(const RgbImage& image, ImageSize size, Filter filter, const Window& window) {
  if (filter == Filter::kNearest && !(size == image.size)) return PickNearest(image, size, window);
  return Convolve(image, size, KernelOf(filter), window);
}

}  // namespace mvf

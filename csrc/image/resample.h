// Resizing as Pillow does it, to the byte, row by row.
#pragma once

#include <vector>

#include "image/byte_sums.h"
#include "image/rule.h"
#include "image/taps.h"

namespace mvf {

// Larger edges are not resized: Pillow holds coordinates as floats, which are exact up to here.
constexpr int64_t kMaxEdge = 1 << 24;

// Part of an image, not empty.
struct Window {
  int64_t top = 0;
  int64_t left = 0;
  ImageSize size;
};

// What makes up one output. Weights are in pairs; the last of an odd number has a neighbour of weight zero.
struct WeightedInputs {
  int64_t first;
  int64_t count;
  const WeightPair* pairs;
};

// All outputs of an edge, in order, their weights one behind the other.
struct WeightedEdge {
  std::vector<WeightPair> pairs;
  std::vector<WeightedInputs> outputs;
};

// The rows of a window of `image` resized to `size`. Only what the window needs is computed, and only a few
// rows are held: those of the image at the window's width that make up a row of the window. The image has at
// least one pixel and no edge longer than kMaxEdge, and must stay where it is.
class ResizedRows {
 public:
  ResizedRows(const RgbImage& image, ImageSize size, Filter filter, const Window& window);
  ResizedRows(const ResizedRows&) = delete;
  ResizedRows& operator=(const ResizedRows&) = delete;

  // The next row of the window: RGB pixels, pixel_bytes() apart. It stays until the next call.
  const uint8_t* Next();
  int64_t pixel_bytes() const { return pixel_bytes_; }

 private:
  enum class Order { kNeither, kWidth, kHeight, kWidthFirst, kHeightFirst };

  static Order OrderOf(ImageSize from, ImageSize to);
  const uint8_t* ImageRow(int64_t y) const { return image_.data + y * image_.row_bytes; }
  // Pixels of a row from column `left` on, and the end of what may be read, to the window's columns.
  void ResizeWidth(const uint8_t* pixels, int64_t left, const uint8_t* end, uint8_t* out) const;
  // Rows of `bytes` bytes, `step` apart, to one.
  static void WeighRows(const WeightedInputs& weights, const uint8_t* first, int64_t step, int64_t bytes,
                        uint8_t* out);
  // Row `weights.first` of the image at the window's width, and those behind it that are weighed with it.
  const uint8_t* NarrowRows(const WeightedInputs& weights);

  RgbImage image_;
  const uint8_t* end_;
  Window window_;
  Order order_;
  int64_t next_ = 0;
  int64_t pixel_bytes_;
  int64_t row_bytes_;  // of what Next gives
  WeightedEdge rows_;
  WeightedEdge columns_;
  std::vector<uint8_t> out_;
  std::vector<uint8_t> low_;     // a row of the window's height and the image's width
  int64_t low_left_ = 0;         // its first column
  std::vector<uint8_t> narrow_;  // rows of the window's width from the image's row narrow_first_ on
  int64_t narrow_first_ = 0;
  int64_t narrow_end_ = 0;
  int64_t narrow_room_ = 0;
};

}  // namespace mvf

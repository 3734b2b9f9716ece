// Resizing as Pillow does it, to the byte.
#pragma once

#include <vector>

#include "image/rule.h"

namespace mvf {

// Larger edges are not resized: Pillow holds coordinates as floats, which are exact up to here.
constexpr int64_t kMaxEdge = 1 << 24;

// Part of an image, not empty.
struct Window {
  int64_t top = 0;
  int64_t left = 0;
  ImageSize size;
};

// The window of `image` resized to `size`: RGB bytes, dense. Only what the window needs is computed. The
// image has at least one pixel; no edge is longer than kMaxEdge.
std::vector<uint8_t> Resample(const RgbImage& image, ImageSize size, Filter filter, const Window& window);

}  // namespace mvf

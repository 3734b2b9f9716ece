// From RGB bytes of any size to the float planes that a model takes: resize, crop, order of channels, scale.
#pragma once

#include <array>

#include "image/resample.h"
#include "image/rule.h"

namespace mvf {

// Of a resized image; as many as the Python package decodes unless told otherwise.
constexpr int64_t kMaxPixels = 89'478'485;

// What becomes of an image of one size.
struct Preparation {
  ImageSize resized;
  ImageSize size;   // of the planes
  Window seen;      // what is kept of the resized image
  int64_t top = 0;  // where that lies in the planes; around it they are black
  int64_t left = 0;
};
// Throws std::invalid_argument for an image that is too large, or so long and thin that it would be when
// resized.
Preparation PreparationOf(const ImageRule& rule, ImageSize image, int64_t max_pixels = kMaxPixels);

// What each byte becomes in plane 0, 1 or 2.
using PlaneValues = std::array<float, 256>;
PlaneValues PlaneValuesOf(const ImageRule& rule, int64_t plane);

// Of the planes that Prepare writes. Throws as PreparationOf does.
ImageSize PreparedSize(const ImageRule& rule, ImageSize image);

// Writes [3, height, width] of PreparedSize to `planes`, dense. Throws as PreparedSize does.
void Prepare(const ImageRule& rule, const RgbImage& image, float* planes, int64_t max_pixels = kMaxPixels);

}  // namespace mvf

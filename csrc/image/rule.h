// How a model wants its images prepared: the numbers of a checkpoint's preprocessing.
#pragma once

#include <array>
#include <cstdint>

namespace mvf {

struct ImageSize {
  int64_t height = 0;
  int64_t width = 0;

  bool operator==(const ImageSize& other) const { return height == other.height && width == other.width; }
};

// Pillow's filters, in the order of its numbers.
enum class Filter { kNearest, kLanczos, kBilinear, kBicubic, kBox, kHamming };

// Sizes of 0 stand for "none".
struct ImageRule {
  int64_t shortest_edge = 0;  // resize so that the shorter side has so many pixels
  ImageSize exact_size;       // or resize to this
  ImageSize crop_size;        // centre crop, padded with black
  bool crop_to_even =
      false;  // an odd number of pixels is cut at the even pixel, else one nearer to the start
  Filter filter = Filter::kBilinear;
  bool bgr = false;        // order of the planes
  float rescale = 1.0f;    // of the bytes 0 to 255
  bool normalize = false;  // by mean and deviation of each plane, after rescale
  std::array<float, 3> mean{};
  std::array<float, 3> deviation{};
};

// RGB bytes; pixels are three bytes apart, or four with one behind each that nobody looks at.
struct RgbImage {
  const uint8_t* data = nullptr;
  ImageSize size;
  int64_t row_bytes = 0;
  int64_t pixel_bytes = 3;
};

}  // namespace mvf

// From RGB bytes of any size to the float planes that a model takes: resize, crop, order of channels, scale.
#pragma once

#include "image/rule.h"

namespace mvf {

// Of the planes that Prepare writes. Throws std::invalid_argument for an image that is too large, or so long
// and thin that it would be when resized.
ImageSize PreparedSize(const ImageRule& rule, ImageSize image);

// Writes [3, height, width] of PreparedSize to `planes`, dense. Throws as PreparedSize does.
void Prepare(const ImageRule& rule, const RgbImage& image, float* planes);

}  // namespace mvf

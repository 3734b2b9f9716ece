#include "image/prepare.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "image/resample.h"

namespace mvf {
namespace {

std::string ToString(ImageSize size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

ImageSize ResizedSize(const ImageRule& rule, ImageSize image) {
  if (rule.exact_size.height > 0) return rule.exact_size;
  if (rule.shortest_edge == 0) return image;
  const auto [shorter, longer] = std::minmax(image.height, image.width);
  const auto longest =
      static_cast<int64_t>(static_cast<double>(rule.shortest_edge * longer) / static_cast<double>(shorter));
  return image.width <= image.height ? ImageSize{longest, rule.shortest_edge}
                                     : ImageSize{rule.shortest_edge, longest};
}

// Resized, checked.
ImageSize CheckedSize(const ImageRule& rule, ImageSize image, int64_t max_pixels) {
  if (image.height < 1 || image.width < 1 || image.height > kMaxEdge || image.width > kMaxEdge) {
    throw std::invalid_argument("an image of " + ToString(image) + " pixels; edges may be from 1 to " +
                                std::to_string(kMaxEdge));
  }
  const ImageSize resized = ResizedSize(rule, image);
  if (resized.width > kMaxEdge || resized.height > kMaxEdge || resized.height * resized.width > max_pixels) {
    throw std::invalid_argument("an image of " + ToString(image) +
                                " is too large, or too long and thin: at " + ToString(resized) +
                                " it exceeds " + std::to_string(max_pixels) + " pixels");
  }
  return resized;
}

int64_t FloorHalf(int64_t value) { return value >= 0 ? value / 2 : -((1 - value) / 2); }

// First row or column of the crop; negative where the image is padded.
int64_t CropOffset(const ImageRule& rule, int64_t size, int64_t crop) {
  const int64_t cut = size - crop;
  if (!rule.crop_to_even) return FloorHalf(cut);
  if (cut < 0) return -(-cut / 2);
  return cut % 4 == 3 ? cut / 2 + 1 : cut / 2;
}

}  // namespace

Preparation PreparationOf(const ImageRule& rule, ImageSize image, int64_t max_pixels) {
  Preparation plan;
  plan.resized = CheckedSize(rule, image, max_pixels);
  plan.size = rule.crop_size.height > 0 ? rule.crop_size : plan.resized;
  const int64_t top = CropOffset(rule, plan.resized.height, plan.size.height);
  const int64_t left = CropOffset(rule, plan.resized.width, plan.size.width);
  plan.seen.top = std::max<int64_t>(top, 0);
  plan.seen.left = std::max<int64_t>(left, 0);
  plan.seen.size.height = std::min(top + plan.size.height, plan.resized.height) - plan.seen.top;
  plan.seen.size.width = std::min(left + plan.size.width, plan.resized.width) - plan.seen.left;
  plan.top = plan.seen.top - top;
  plan.left = plan.seen.left - left;
  return plan;
}

PlaneValues PlaneValuesOf(const ImageRule& rule, int64_t plane) {
  PlaneValues values;
  for (int byte = 0; byte < 256; ++byte) {
    const auto value = static_cast<size_t>(byte), index = static_cast<size_t>(plane);
    values[value] = static_cast<float>(byte) * rule.rescale;
    if (rule.normalize) values[value] = (values[value] - rule.mean[index]) / rule.deviation[index];
  }
  return values;
}

ImageSize PreparedSize(const ImageRule& rule, ImageSize image) { return PreparationOf(rule, image).size; }

void Prepare(const ImageRule& rule, const RgbImage& image, float* planes, int64_t max_pixels) {
  const Preparation plan = PreparationOf(rule, image.size, max_pixels);
  const ImageSize size = plan.size, seen = plan.seen.size;
  ResizedRows rows(image, plan.resized, rule.filter, plan.seen);

  PlaneValues values[3];
  for (int64_t plane = 0; plane < 3; ++plane) {
    values[plane] = PlaneValuesOf(rule, plane);
    float* const out = planes + plane * size.height * size.width;
    if (!(seen == size)) std::fill_n(out, size.height * size.width, values[plane][0]);
  }
  for (int64_t y = 0; y < seen.height; ++y) {
    const uint8_t* const row = rows.Next();
    for (int64_t plane = 0; plane < 3; ++plane) {
      const uint8_t* source = row + (rule.bgr ? 2 - plane : plane);
      float* const out = planes + (plane * size.height + plan.top + y) * size.width + plan.left;
      for (int64_t x = 0; x < seen.width; ++x, source += rows.pixel_bytes()) out[x] = values[plane][*source];
    }
  }
}

}  // namespace mvf

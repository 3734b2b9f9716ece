#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/preparer.h"
#include "cuda_emulator.h"
#include "emulated_device.h"
#include "image/prepare.h"

// Photographs prepared by the device's kernels, run by the emulator, beside image/prepare.h: equal to the
// bit.
namespace mvf_test {
namespace {

using namespace mvf;

// Bytes of smooth colours and noise, exactly as long as the image.
std::vector<uint8_t> Photograph(ImageSize size) {
  std::mt19937 generator(static_cast<uint32_t>(size.height * 7919 + size.width));
  std::vector<uint8_t> bytes;
  bytes.reserve(static_cast<size_t>(3 * size.height * size.width));
  for (int64_t y = 0; y < size.height; ++y) {
    for (int64_t x = 0; x < size.width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        const int64_t edge = (x * (c + 2) > y * 3) ? 120 : 0;
        bytes.push_back(static_cast<uint8_t>((y * (c + 1) / 2 + edge + generator() % 64) % 256));
      }
    }
  }
  return bytes;
}

struct Photographs {
  explicit Photographs(const std::vector<ImageSize>& sizes) : sizes(sizes) {
    for (ImageSize size : sizes) bytes.push_back(Photograph(size));
  }

  // Every other one is the device's: memory is the same to the emulator.
  std::vector<StridedImage> Images() const {
    std::vector<StridedImage> images;
    for (size_t i = 0; i < sizes.size(); ++i) {
      images.push_back({bytes[i].data(), sizes[i], 3 * sizes[i].width, 3, 1, i % 2 == 1});
    }
    return images;
  }

  std::vector<float> Expected(const ImageRule& rule) const {
    std::vector<float> all;
    for (size_t i = 0; i < sizes.size(); ++i) {
      const ImageSize size = PreparedSize(rule, sizes[i]);
      std::vector<float> planes(static_cast<size_t>(3 * size.height * size.width));
      Prepare(rule, {bytes[i].data(), sizes[i], 3 * sizes[i].width}, planes.data());
      all.insert(all.end(), planes.begin(), planes.end());
    }
    return all;
  }

  std::vector<ImageSize> sizes;
  std::vector<std::vector<uint8_t>> bytes;
};

void CheckImages(const ImageRule& rule, const std::vector<StridedImage>& images,
                 const std::vector<float>& expected, bool every_schedule) {
  Preparer preparer(rule, 0);
  for (bool last_first : {false, true}) {
    SetSchedule({last_first, last_first});
    std::vector<float> planes(expected.size(), -1.0f);
    preparer.Run(images, planes.data(), nullptr);
    CHECK(planes == expected);
    if (!every_schedule) break;
  }
  SetSchedule({});
}

void Check(const ImageRule& rule, const std::vector<ImageSize>& sizes, bool every_schedule = true) {
  const Photographs photographs(sizes);
  CheckImages(rule, photographs.Images(), photographs.Expected(rule), every_schedule);
}

ImageRule Apple() {
  ImageRule rule;
  rule.shortest_edge = 288;
  rule.crop_size = {256, 256};
  rule.bgr = true;
  rule.rescale = 1.0f / 255;
  return rule;
}

ImageRule Timm() {
  ImageRule rule = Apple();
  rule.shortest_edge = 284;
  rule.crop_to_even = true;
  rule.filter = Filter::kBicubic;
  rule.bgr = false;
  rule.normalize = true;
  rule.mean = {0.485f, 0.456f, 0.406f};
  rule.deviation = {0.229f, 0.224f, 0.225f};
  return rule;
}

ImageRule Small(Filter filter) {
  ImageRule rule = Timm();
  rule.shortest_edge = 37;
  rule.crop_size = {32, 33};
  rule.filter = filter;
  return rule;
}

const std::vector<ImageSize> kOdd = {{1, 1},   {1, 40}, {53, 1},  {37, 37}, {37, 90}, {90, 37},
                                     {20, 21}, {5, 17}, {300, 7}, {64, 65}, {90, 37}, {600, 40}};

TEST(cuda_prepare, photographs_by_the_rule_of_apple) {
  Check(Apple(), {{480, 640}, {640, 480}, {2000, 3000}}, false);
}
TEST(cuda_prepare, photographs_by_the_rule_of_timm) {
  Check(Timm(), {{375, 500}, {3000, 2000}, {284, 400}}, false);
}

TEST(cuda_prepare, odd_sizes_by_every_filter) {
  for (Filter filter : {Filter::kNearest, Filter::kLanczos, Filter::kBilinear, Filter::kBicubic, Filter::kBox,
                        Filter::kHamming}) {
    Check(Small(filter), kOdd);
  }
}

TEST(cuda_prepare, crops_beyond_the_image_are_black) {
  ImageRule rule = Small(Filter::kBicubic);
  rule.crop_size = {50, 41};
  Check(rule, {{40, 40}, {37, 37}, {90, 30}});
  rule.shortest_edge = 0;
  Check(rule, {{40, 40}, {1, 1}, {60, 20}, {20, 60}, {50, 41}});
}

TEST(cuda_prepare, rules_that_do_not_keep_the_aspect) {
  ImageRule rule = Small(Filter::kBilinear);
  rule.shortest_edge = 0;
  rule.exact_size = {24, 48};
  rule.crop_size = {};
  Check(rule, kOdd);
  Check(rule, {{1000, 48}, {24, 600}, {500, 50}});  // one pass, and the height before the width
}

TEST(cuda_prepare, strides_of_any_kind) {
  const ImageSize size = {60, 45};
  const Photographs photographs({size});
  const std::vector<uint8_t>& bytes = photographs.bytes[0];
  std::vector<uint8_t> planar(bytes.size()), turned(bytes.size());
  for (int64_t pixel = 0; pixel < size.height * size.width; ++pixel) {
    for (int64_t c = 0; c < 3; ++c) {
      const uint8_t byte = bytes[static_cast<size_t>(3 * pixel + c)];
      planar[static_cast<size_t>(c * size.height * size.width + pixel)] = byte;
      turned[turned.size() - 1 - static_cast<size_t>(3 * pixel + c)] = byte;
    }
  }
  const ImageRule rule = Small(Filter::kBicubic);
  for (bool on_device : {false, true}) {
    CheckImages(rule, {{planar.data(), size, size.width, 1, size.height * size.width, on_device}},
                photographs.Expected(rule), true);
    CheckImages(rule, {{turned.data() + turned.size() - 1, size, -3 * size.width, -3, -1, on_device}},
                photographs.Expected(rule), true);
  }
}

// The buffer is used again, smaller and larger, and given back.
TEST(cuda_prepare, batches_of_any_size_one_after_another) {
  const ImageRule rule = Small(Filter::kBilinear);
  const size_t before = DeviceBytesInUse();
  {
    Preparer preparer(rule, 0);
    for (const std::vector<ImageSize>& sizes :
         {kOdd, std::vector<ImageSize>{{1, 1}}, std::vector<ImageSize>(20, {50, 70})}) {
      const Photographs photographs(sizes);
      const std::vector<float> expected = photographs.Expected(rule);
      std::vector<float> planes(expected.size(), -1.0f);
      preparer.Run(photographs.Images(), planes.data(), nullptr);
      CHECK(planes == expected);
    }
    CHECK(DeviceBytesInUse() > before);
  }
  CHECK_EQUAL(DeviceBytesInUse(), before);
}

TEST(cuda_prepare, batches_in_parts) {
  const ImageRule rule = Small(Filter::kBilinear);
  const Photographs photographs(kOdd);
  const std::vector<float> expected = photographs.Expected(rule);
  const size_t before = DeviceBytesInUse();
  size_t least = 0;
  for (int64_t most_bytes : {int64_t{1}, int64_t{9000}, int64_t{1} << 30}) {
    Preparer preparer(rule, 0, most_bytes);
    std::vector<float> planes(expected.size(), -1.0f);
    preparer.Run(photographs.Images(), planes.data(), nullptr);
    CHECK(planes == expected);
    CHECK(DeviceBytesInUse() - before > least);
    least = DeviceBytesInUse() - before;
  }
}

TEST(cuda_prepare, what_cannot_be_prepared_is_refused) {
  Preparer preparer(Small(Filter::kBilinear), 0);
  const uint8_t byte = 0;
  float planes = 0;
  const auto run = [&](std::vector<StridedImage> images) { preparer.Run(images, &planes, nullptr); };
  CHECK_THROWS(std::invalid_argument, "no images", run({}));
  CHECK_THROWS(std::invalid_argument, "edges may be from 1", run({{&byte, {0, 5}}}));
  CHECK_THROWS(std::invalid_argument, "edges may be from 1", run({{&byte, {5, (1 << 24) + 1}}}));
  CHECK_THROWS(std::invalid_argument, "too long and thin", run({{&byte, {1, 1 << 22}}}));
  ImageRule whole;
  const Preparer keeps_sizes(whole, 0);
  CHECK_THROWS(std::invalid_argument, "images of different sizes cannot form a batch: 5x4 and 4x5",
               keeps_sizes.SizeOf({{&byte, {4, 5}}, {&byte, {5, 4}}}));
  PretendCapturing(true);
  CHECK_THROWS(std::invalid_argument, "being recorded", run({{&byte, {1, 1}, 3, 3, 1}}));
  PretendCapturing(false);
}

}  // namespace
}  // namespace mvf_test

#include "engine/planar.h"

#include <algorithm>

#include "base/half.h"

namespace mvf {
namespace {

template <class Element>
void Write(const Map& map, float* output) {
  // Blocks of channels, so that neither the reads nor the writes leave the first-level cache between their
  // visits.
  constexpr int64_t kBlock = 16;
  const int64_t plane = map.height * map.width;
  for (int64_t begin = 0; begin < map.channels; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, map.channels);
    for (int64_t y = 0; y < map.height; ++y) {
      for (int64_t x = 0; x < map.width; ++x) {
        const Element* pixel = map.Pixel<const Element>(y, x);
        float* place = output + y * map.width + x;
        for (int64_t c = begin; c < end; ++c) place[c * plane] = ToFloat(pixel[c]);
      }
    }
  }
}

}  // namespace

void WritePlanar(const Map& map, DType type, float* output) {
  switch (type) {
    case DType::kF32:
      return Write<float>(map, output);
    case DType::kBf16:
      return Write<Bf16>(map, output);
    case DType::kF16:
      return Write<Half>(map, output);
  }
}

}  // namespace mvf

// Views: how a kernel is told where its data lies. None of them owns memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mvf {

// bfloat16 storage: the upper half of an IEEE float.
struct Bf16 {
  uint16_t bits;
};

// IEEE half precision storage.
struct Half {
  uint16_t bits;
};

// TF32: a float in memory, of which products see the ten upper bits of the mantissa.
struct Tf32 {
  float value;
};

enum class DType { kF32, kBf16, kF16 };

constexpr size_t SizeOf(DType type) { return type == DType::kF32 ? 4 : 2; }

// Half-open range of work units (rows, heads, ...) that one thread computes.
struct Range {
  int64_t begin;
  int64_t end;
};

// One image's feature map, channels last: element (y, x, c) lies at y * row_stride + x * pixel_stride + c.
// Strides are in elements; the element type is the one that the kernel's declaration names.
struct Map {
  void* data = nullptr;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  int64_t row_stride = 0;
  int64_t pixel_stride = 0;

  template <class Element>
  Element* Row(int64_t y) const {
    return static_cast<Element*>(data) + y * row_stride;
  }
  template <class Element>
  Element* Pixel(int64_t y, int64_t x) const {
    return Row<Element>(y) + x * pixel_stride;
  }
};

inline Map DenseMap(void* data, int64_t height, int64_t width, int64_t channels) {
  return {data, height, width, channels, width * channels, channels};
}

// One float image as the caller holds it, walked by any strides (in elements, negative ones too).
struct Image {
  const float* data = nullptr;
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channel_stride = 0;
  int64_t row_stride = 0;
  int64_t column_stride = 0;
};

}  // namespace mvf

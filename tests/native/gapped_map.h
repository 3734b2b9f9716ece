// Maps whose pixels and rows do not follow each other, and kernels that run on them in ranges of rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/memory.h"
#include "check.h"
#include "kernels/kernel_table.h"

namespace mvf_test {

inline constexpr float kGap = 12345.0f;

// A map with gaps behind its pixels and rows, which hold kGap.
class GappedMap {
 public:
  GappedMap(int64_t height, int64_t width, int64_t channels)
      : pixel_(channels + 3),
        row_(width * pixel_ + 5),
        floats_(static_cast<size_t>(height * row_), kGap),
        map_{floats_.data(), height, width, channels, row_, pixel_} {}
  GappedMap(const GappedMap&) = delete;
  GappedMap& operator=(const GappedMap&) = delete;

  const mvf::Map& map() const { return map_; }
  const std::vector<float>& floats() const { return floats_; }

  void Fill(const float* values) {
    for (int64_t y = 0; y < map_.height; ++y) {
      for (int64_t x = 0; x < map_.width; ++x, values += map_.channels) {
        std::copy_n(values, map_.channels, map_.Pixel<float>(y, x));
      }
    }
  }

  // Fails where the gaps no longer are what they were, or where a pixel is off by more than `tolerance` of
  // the largest.
  void CheckAgainst(const GappedMap& expected, double tolerance, const std::string& what) {
    double largest = 0;
    for (float value : expected.floats_) {
      if (value != kGap) largest = std::fmax(largest, std::fabs(value));
    }
    for (size_t i = 0; i < floats_.size(); ++i) {
      const double error = std::fabs(static_cast<double>(floats_[i]) - expected.floats_[i]);
      if (expected.floats_[i] == kGap ? floats_[i] != kGap : !(error <= tolerance * largest)) {
        Fail(__FILE__, __LINE__,
             what + ": element " + std::to_string(i) + " is " + std::to_string(floats_[i]) + ", expected " +
                 std::to_string(expected.floats_[i]));
      }
    }
  }

 private:
  int64_t pixel_;
  int64_t row_;
  std::vector<float> floats_;
  mvf::Map map_;
};

// Runs rows [0, height) in ranges of `rows`.
template <class Shape, class Weights, class Args>
void RunInRanges(const mvf::Packing<Shape, Weights>& packing, const mvf::Kernel<Args>& kernel, Args args,
                 const Weights& weights, const GappedMap& output, int64_t rows) {
  const mvf::AlignedBuffer packed(packing.packed_bytes(args.shape) + mvf::kAlignment, "weights");
  packing.pack(args.shape, weights, packed.data());
  args.packed = packed.data();
  args.output = output.map();
  const mvf::AlignedBuffer scratch(kernel.scratch_bytes(args) + mvf::kAlignment, "scratch memory");
  for (int64_t y = 0; y < args.output.height; y += rows) {
    kernel.run(args, {y, std::min(y + rows, args.output.height)}, scratch.data());
  }
}

}  // namespace mvf_test

// Which pixels make up a resized one, along one edge, and in which order Pillow resizes the two edges.
#pragma once

#include <vector>

#include "image/rule.h"

namespace mvf {

constexpr int kWeightBits = 32 - 8 - 2;

// What makes up one output row or column: inputs from `first`, weighted in kWeightBits. No weights make a
// black one.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

// For outputs `begin` to `begin + count` of an edge resized from `in` pixels to `out`. Of an edge that keeps
// its size every output is its input.
std::vector<Taps> TapsOf(int64_t in, int64_t out, Filter filter, int64_t begin, int64_t count);

// Rows or columns.
struct Extent {
  int64_t first = 0;
  int64_t count = 0;
};

// The inputs that any of the outputs, of which there is one at least, needs.
Extent InputsOf(const std::vector<Taps>& taps);

// Since version 13 Pillow begins with the height where that loses more than twice as many pixels as the
// width.
bool BeginsWithHeight(ImageSize from, ImageSize to);

}  // namespace mvf

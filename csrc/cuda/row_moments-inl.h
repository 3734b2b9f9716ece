// What a layer norm needs to know of a row.
#pragma once

#include "cuda/matrix.h"

namespace mvf::cuda {

struct RowMoments {
  float mean;
  float scale;  // 1 / sqrt(variance + epsilon)
};

// By one warp, in every lane. Twice over the row: differences from the mean lose no digits.
MVF_DEVICE RowMoments MomentsOf(const float* row, int channels, float epsilon) {
  float sum = 0.0f, squares = 0.0f;
  for (int c = LaneIndex(); c < channels; c += kWarp) sum += row[c];
  const float mean = WarpSum(sum) / static_cast<float>(channels);
  for (int c = LaneIndex(); c < channels; c += kWarp) squares += (row[c] - mean) * (row[c] - mean);
  return {mean, ReciprocalRoot(WarpSum(squares) / static_cast<float>(channels) + epsilon)};
}

}  // namespace mvf::cuda

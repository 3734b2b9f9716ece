// Images prepared on the device: what its kernels are told, and the launches. Plain C++.
//
// Two passes over each image, as Pillow resizes: the first writes bytes, the second the planes that a model
// takes. An edge that keeps its size needs no pass of its own.
#pragma once

#include <cstdint>

#include "cuda/cuda_table.h"

namespace mvf {

// What makes up one output row or column: `count` inputs from `first`, weighted by the pass's weights from
// `weight` on.
struct TapRange {
  int32_t first;
  int32_t count;
  int32_t weight;
};

// One edge resized. Strides are in bytes; all pointers are the device's.
struct ResamplePass {
  const uint8_t* input;
  int64_t row_stride;
  int64_t pixel_stride;
  int64_t channel_stride;
  const TapRange* taps;  // one for each row of the output, or for each column
  const int32_t* weights;
  int32_t height;  // of the output
  int32_t width;
  bool over_rows;  // taps lie below each other: the height is resized
};

struct PrepareJob {
  ResamplePass first;   // no rows where one pass does
  uint8_t* between;     // dense RGB, what the first writes
  int64_t first_block;  // of the first pass's, counted over all jobs
  ResamplePass second;
  int32_t top;  // where the second's output lies in the planes
  int32_t left;
};

struct PrepareBatch {
  const PrepareJob* jobs;  // the device's, one an image
  int64_t images;
  int64_t first_blocks;  // of all jobs
  const float* values;   // the device's: [3][256], of each byte in each plane
  float* planes;         // [images][3][height][width]
  int64_t height;
  int64_t width;
  bool bgr;
};

// Blocks that the first pass takes for an image of so many pixels between the passes.
int64_t FirstPassBlocks(int64_t pixels);

// Enqueues. Throws std::invalid_argument for more than a grid holds, cuda::CudaError.
void PrepareOnDevice(const PrepareBatch& batch, const CudaRun& run);

}  // namespace mvf

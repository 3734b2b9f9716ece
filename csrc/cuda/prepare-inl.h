// Photographs into planes: Pillow's passes over bytes, in its integers, and the values of bytes looked up.
#pragma once

#include "cuda/prepare_jobs.h"
#include "cuda/simt.h"
#include "image/taps.h"

namespace mvf::cuda {

struct Pixel {
  int channels[3];
};

// Output pixel (y, x) of a pass: weighted sums of bytes, rounded and clamped.
MVF_DEVICE Pixel PixelOf(const ResamplePass& pass, int y, int x) {
  const TapRange taps = pass.taps[pass.over_rows ? y : x];
  const int64_t from_y = pass.over_rows ? taps.first : y, from_x = pass.over_rows ? x : taps.first;
  const int64_t step = pass.over_rows ? pass.row_stride : pass.pixel_stride;
  const uint8_t* input = pass.input + from_y * pass.row_stride + from_x * pass.pixel_stride;
  const int32_t* weights = pass.weights + taps.weight;
  constexpr int kHalf = 1 << (kWeightBits - 1);
  Pixel sums = {{kHalf, kHalf, kHalf}};
  for (int tap = 0; tap < taps.count; ++tap) {
    const uint8_t* channel = input + tap * step;
    MVF_UNROLL
    for (int c = 0; c < 3; ++c) sums.channels[c] += channel[c * pass.channel_stride] * weights[tap];
  }
  MVF_UNROLL
  for (int& sum : sums.channels) {
    sum >>= kWeightBits;
    sum = sum < 0 ? 0 : sum > 255 ? 255 : sum;
  }
  return sums;
}

// The first pass of all images; a thread to a pixel, a block to one image.
struct FirstPassKernel {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 4;

  struct Args {
    const PrepareJob* jobs;
    int images;
  };

  static MVF_DEVICE void Run(const Args& args) {
    // The last job that begins no later than this block: those before it without a first pass begin there,
    // too.
    int low = 0, high = args.images;
    while (high - low > 1) {
      const int middle = low + (high - low) / 2;
      (args.jobs[middle].first_block <= BlockIndex() ? low : high) = middle;
    }
    const PrepareJob& job = args.jobs[low];
    const int64_t element = (BlockIndex() - job.first_block) * kThreads + ThreadIndex();
    const int width = job.first.width;
    if (element >= static_cast<int64_t>(job.first.height) * width) return;
    const int y = static_cast<int>(element / width), x = static_cast<int>(element - int64_t{y} * width);
    const Pixel pixel = PixelOf(job.first, y, x);
    MVF_UNROLL
    for (int c = 0; c < 3; ++c) job.between[element * 3 + c] = static_cast<uint8_t>(pixel.channels[c]);
  }
};

// The second pass; a thread to a pixel of the planes.
struct PlanesKernel {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 4;

  struct Args {
    const PrepareJob* jobs;
    const float* values;
    float* planes;
    int64_t pixels;  // of all images
    int height;
    int width;
    bool bgr;
  };

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t pixel = BlockIndex() * kThreads + ThreadIndex();
    if (pixel >= args.pixels) return;
    const int64_t plane = static_cast<int64_t>(args.height) * args.width;
    const int64_t image = pixel / plane, place = pixel - image * plane;
    const PrepareJob& job = args.jobs[image];
    const int y = static_cast<int>(place / args.width), x = static_cast<int>(place % args.width);
    const int seen_y = y - job.top, seen_x = x - job.left;
    Pixel bytes = {};  // black around the image
    if (seen_y >= 0 && seen_y < job.second.height && seen_x >= 0 && seen_x < job.second.width) {
      bytes = PixelOf(job.second, seen_y, seen_x);
    }
    float* to = args.planes + image * 3 * plane + place;
    MVF_UNROLL
    for (int c = 0; c < 3; ++c) {
      const int byte = args.bgr ? bytes.channels[2 - c] : bytes.channels[c];
      to[c * plane] = args.values[c * 256 + byte];
    }
  }
};

}  // namespace mvf::cuda

// What moves more than it computes: layer norm, bilinear resize, global pool, and maps handed out with
// channels first.
#pragma once

#include "cuda/row_moments-inl.h"

namespace mvf::cuda {

// output[m, c] = (input[m, c] - mean_m) / sqrt(var_m + epsilon) * gamma[c] + beta[c]; a warp to a row.
template <class ElementOf>
struct LayerNormKernel {
  using Element = ElementOf;
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerMultiprocessor = 8;
  static constexpr int kRows = kThreads / kWarp;

  struct Args {
    const float* input;
    int64_t input_stride;
    Element* output;
    int64_t output_stride;
    const float* gamma;
    const float* beta;
    int64_t rows;
    int channels;
    float epsilon;
  };

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t row = BlockIndex() * kRows + WarpIndex();
    if (row >= args.rows) return;
    const float* from = args.input + row * args.input_stride;
    Element* to = args.output + row * args.output_stride;
    const RowMoments moments = MomentsOf(from, args.channels, args.epsilon);
    for (int c = LaneIndex(); c < args.channels; c += kWarp) {
      to[c] = Narrow<Element>((from[c] - moments.mean) * moments.scale * args.gamma[c] + args.beta[c]);
    }
  }
};

// Half-pixel centres, edges clamped; a thread to an element of the output.
template <class ElementOf>
struct ResizeKernel {
  using Element = ElementOf;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 4;

  struct Args {
    const Element* input;  // [images][height][width][channels]
    Element* output;       // [images][out_height][out_width][channels]
    int64_t elements;      // of the output
    int channels;
    int height, width;
    int out_height, out_width;
  };

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t element = BlockIndex() * kThreads + ThreadIndex();
    if (element >= args.elements) return;
    const int64_t pixel = element / args.channels;
    const int c = static_cast<int>(element - pixel * args.channels);
    const int64_t line = pixel / args.out_width;
    const int x = static_cast<int>(pixel - line * args.out_width);
    const int64_t image = line / args.out_height;
    const int y = static_cast<int>(line - image * args.out_height);
    const Blend down = BlendAt(y, args.height, args.out_height);
    const Blend across = BlendAt(x, args.width, args.out_width);
    const Element* map = args.input + image * args.height * args.width * args.channels + c;
    const auto at = [&](int from_y, int from_x) {
      return Widen(map[(static_cast<int64_t>(from_y) * args.width + from_x) * args.channels]);
    };
    const float left = 1.0f - across.weight, upper = 1.0f - down.weight;
    const float above = left * at(down.first, across.first) + across.weight * at(down.first, across.second);
    const float below = left * at(down.second, across.first) + across.weight * at(down.second, across.second);
    args.output[element] = Narrow<Element>(upper * above + down.weight * below);
  }

 private:
  // The two input positions that an output position lies between, and the second one's weight; in float, as
  // torch computes it.
  struct Blend {
    int first;
    int second;
    float weight;
  };
  static MVF_DEVICE Blend BlendAt(int position, int in_size, int out_size) {
    if (in_size == out_size) return {position, position, 0.0f};
    const float scale = static_cast<float>(in_size) / static_cast<float>(out_size);
    const float centre = scale * (static_cast<float>(position) + 0.5f) - 0.5f;
    const float source = centre > 0.0f ? centre : 0.0f;
    const int floor = static_cast<int>(source);
    const int first = floor < in_size - 1 ? floor : in_size - 1;
    const int second = first + 1 < in_size - 1 ? first + 1 : in_size - 1;
    const float weight = source - static_cast<float>(first);
    return {first, second, weight < 1.0f ? weight : 1.0f};
  }
};

// output[n, c] = mean over the pixels of input[n, y, x, c]; a block to 32 channels of an image.
template <class ElementOf>
struct GlobalPoolKernel {
  using Element = ElementOf;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 4;
  static constexpr size_t kSharedBytes = kThreads * sizeof(float);

  struct Args {
    const Element* input;
    void* output;  // Element, or float
    int pixels;
    int channels;
    int channel_blocks;
    bool float_output;
  };

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t image = BlockIndex() / args.channel_blocks;
    const int c = static_cast<int>(BlockIndex() - image * args.channel_blocks) * kWarp + LaneIndex();
    auto* sums = reinterpret_cast<float*>(SharedMemory());
    float sum = 0.0f;
    if (c < args.channels) {
      const Element* from = args.input + image * args.pixels * args.channels + c;
      for (int pixel = WarpIndex(); pixel < args.pixels; pixel += kThreads / kWarp) {
        sum += Widen(from[static_cast<int64_t>(pixel) * args.channels]);
      }
    }
    sums[ThreadIndex()] = sum;
    SyncBlock();
    if (WarpIndex() != 0 || c >= args.channels) return;
    float total = 0.0f;
    for (int warp = 0; warp < kThreads / kWarp; ++warp) total += sums[warp * kWarp + LaneIndex()];
    const float mean = total / static_cast<float>(args.pixels);
    const int64_t place = image * args.channels + c;
    if (args.float_output) {
      static_cast<float*>(args.output)[place] = mean;
    } else {
      static_cast<Element*>(args.output)[place] = Narrow<Element>(mean);
    }
  }
};

// output[n, c, pixel] = map[n, pixel, c], as float; a thread to an element of the output.
template <class ElementOf>
struct PlanarKernel {
  using Element = ElementOf;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 4;

  struct Args {
    const Element* map;
    float* output;
    int64_t elements;
    int64_t pixels;
    int channels;
  };

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t element = BlockIndex() * kThreads + ThreadIndex();
    if (element >= args.elements) return;
    const int64_t plane = element / args.pixels, pixel = element - plane * args.pixels;
    const int64_t image = plane / args.channels, c = plane - image * args.channels;
    args.output[element] = Widen(args.map[(image * args.pixels + pixel) * args.channels + c]);
  }
};

}  // namespace mvf::cuda

// What moves bytes more than it computes: quantize, dequantize, layer norm, bilinear resize and global pool,
// each with the roundings of the CPU's kernels.
#pragma once

#include "cuda/int8_rows-inl.h"
#include "cuda/maps-inl.h"

namespace mvf::cuda {

// Between rows of floats and rows of bytes; a thread to an element.
struct QuantizeKernelArgs {
  float* values;
  int64_t values_stride;
  uint8_t* bytes;
  int64_t bytes_stride;
  int64_t elements;
  int channels;
  Quantizer quantizer;
  float scale;
};

template <bool kToBytes>
struct QuantizeKernel {
  using Args = QuantizeKernelArgs;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 4;

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t element = BlockIndex() * kThreads + ThreadIndex();
    if (element >= args.elements) return;
    const int64_t row = element / args.channels, c = element - row * args.channels;
    float* value = args.values + row * args.values_stride + c;
    uint8_t* byte = args.bytes + row * args.bytes_stride + c;
    if constexpr (kToBytes) {
      *byte = static_cast<uint8_t>(args.quantizer(*value));
    } else {
      *value = Multiply(Subtract(ToReal(*byte), args.quantizer.zero), args.scale);
    }
  }
};

// Layer norm, its output quantised; four lanes to a row.
struct Int8LayerNormKernel {
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerMultiprocessor = 8;
  static constexpr int kRows = kThreads / kRowLanes;

  struct Args {
    const float* input;
    int64_t input_stride;
    uint8_t* output;
    int64_t output_stride;
    const float* gamma;
    const float* beta;
    int64_t rows;
    int channels;
    float epsilon;
    Quantizer quantizer;
  };

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t row = BlockIndex() * kRows + ThreadIndex() / kRowLanes;
    const int channels = row < args.rows ? args.channels : 0;
    const float* from = args.input + row * args.input_stride;
    uint8_t* to = args.output + row * args.output_stride;
    const ByteMoments moments = ByteMomentsOf(from, channels, args.channels, args.epsilon);
    for (int c = LaneIndex() % kRowLanes; c < channels; c += kRowLanes) {
      const float value = Add(Multiply(moments.Normalize(from[c]), args.gamma[c]), args.beta[c]);
      to[c] = static_cast<uint8_t>(args.quantizer(value));
    }
  }
};

MVF_DEVICE float Real(uint8_t value) { return ToReal(value); }
MVF_DEVICE float Real(float value) { return value; }
template <class Element>
MVF_DEVICE Element FromReal(float value);
template <>
MVF_DEVICE float FromReal(float value) {
  return value;
}
template <>
MVF_DEVICE uint8_t FromReal(float value) {
  return static_cast<uint8_t>(RoundToByte(value));
}

// As ResizeKernel, of bytes or floats; a thread to an element of the output.
template <class ElementOf>
struct ExactResizeKernel {
  using Element = ElementOf;
  using Args = typename ResizeKernel<Element>::Args;
  static constexpr int kThreads = ResizeKernel<Element>::kThreads;
  static constexpr int kBlocksPerMultiprocessor = 4;

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
      return Real(map[(static_cast<int64_t>(from_y) * args.width + from_x) * args.channels]);
    };
    const float above = across.Mix(at(down.first, across.first), at(down.first, across.second));
    const float below = across.Mix(at(down.second, across.first), at(down.second, across.second));
    args.output[element] = FromReal<Element>(down.Mix(above, below));
  }

 private:
  struct Blend {
    int first;
    int second;
    float weight;

    MVF_DEVICE float Mix(float a, float b) const {
      return Add(Multiply(Subtract(1.0f, weight), a), Multiply(weight, b));
    }
  };
  static MVF_DEVICE Blend BlendAt(int position, int in_size, int out_size) {
    if (in_size == out_size) return {position, position, 0.0f};
    const float scale = Divide(ToReal(in_size), ToReal(out_size));
    const float centre = Subtract(Multiply(scale, Add(ToReal(position), 0.5f)), 0.5f);
    const float source = centre > 0.0f ? centre : 0.0f;
    const int floor = static_cast<int>(source);
    const int first = floor < in_size - 1 ? floor : in_size - 1;
    const int second = first + 1 < in_size - 1 ? first + 1 : in_size - 1;
    const float weight = Subtract(source, ToReal(first));
    return {first, second, weight < 1.0f ? weight : 1.0f};
  }
};

// output[n, c] = scale * (sum over the pixels of input[n, y, x, c] - zero), both for all pixels; a block to
// 32 channels of an image. The sum is a whole number: up to 2^24 the CPU's, which is a float.
struct Int8GlobalPoolKernel {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 4;
  static constexpr size_t kSharedBytes = kThreads * sizeof(int32_t);

  struct Args {
    const uint8_t* input;
    float* output;
    int pixels;
    int channels;
    int channel_blocks;
    float zero;
    float scale;
  };

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t image = BlockIndex() / args.channel_blocks;
    const int c = static_cast<int>(BlockIndex() - image * args.channel_blocks) * kWarp + LaneIndex();
    auto* sums = reinterpret_cast<int32_t*>(SharedMemory());
    int32_t sum = 0;
    if (c < args.channels) {
      const uint8_t* from = args.input + image * args.pixels * args.channels + c;
      for (int pixel = WarpIndex(); pixel < args.pixels; pixel += kThreads / kWarp) {
        sum += from[static_cast<int64_t>(pixel) * args.channels];
      }
    }
    sums[ThreadIndex()] = sum;
    SyncBlock();
    if (WarpIndex() != 0 || c >= args.channels) return;
    int32_t total = 0;
    for (int warp = 0; warp < kThreads / kWarp; ++warp) total += sums[warp * kWarp + LaneIndex()];
    args.output[image * args.channels + c] = Multiply(Subtract(ToReal(total), args.zero), args.scale);
  }
};

}  // namespace mvf::cuda

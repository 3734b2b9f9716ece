// Maps of a batch, [N, H, W, C], as nodes that convolve read and write them.
#pragma once

#include <stdexcept>
#include <utility>
#include <vector>

#include "base/view.h"
#include "onnxruntime/node.h"

namespace mvf::ort {

template <class Element>
struct MapsOf {
  const Element* data = nullptr;
  int64_t count = 0, height = 0, width = 0, channels = 0;

  // Kernels only read their inputs.
  Map At(int64_t n) const {
    return DenseMap(const_cast<Element*>(data) + n * height * width * channels, height, width, channels);
  }
  // How many there are to compute: a map without pixels is none.
  int64_t items() const { return height * width > 0 ? count : 0; }
};

template <class Element>
MapsOf<Element> ReadMaps(const NodeCall& call, size_t input, int64_t channels) {
  const Tensor<Element> x = call.Input<Element>(input);
  RequireDims(input, x.dims, {kAny, kAny, kAny, channels});
  return {x.data, x.dims[0], x.dims[1], x.dims[2], x.dims[3]};
}

// What is concatenated with `first`.
template <class Element>
MapsOf<Element> ReadSecond(const NodeCall& call, const MapsOf<Element>& first, int64_t channels) {
  const Tensor<Element> x = call.Input<Element>(1);
  RequireDims(1, x.dims, {first.count, first.height, first.width, channels});
  return {x.data, first.count, first.height, first.width, channels};
}

// What a 3x3 convolution makes of maps of that size.
template <class Element>
MapsOf<Element> MakeMaps(const NodeCall& call, int64_t count, int64_t height, int64_t width, int64_t stride,
                         int64_t channels) {
  MapsOf<Element> output{nullptr, count, (height + stride - 1) / stride, (width + stride - 1) / stride,
                         channels};
  output.data = call.Output<Element>({count, output.height, output.width, channels});
  return output;
}

// Images [N, C, H, W].
struct Images {
  const float* data = nullptr;
  int64_t count = 0, channels = 0, height = 0, width = 0;

  Image At(int64_t n) const {
    return {data + n * channels * height * width, channels, height, width, height * width, width, 1};
  }
};

inline Images ReadImages(const NodeCall& call, int64_t channels) {
  const Tensor<float> x = call.Input<float>(0);
  RequireDims(0, x.dims, {kAny, channels, kAny, kAny});
  return {x.data, x.dims[0], channels, x.dims[2], x.dims[3]};
}

inline int64_t ReadStride(const NodeInfo& info) {
  const Dims strides = info.Ints("strides");
  if (strides.size() != 2 || strides[0] != strides[1] || strides[0] < 1 || strides[0] > 2) {
    throw std::invalid_argument("strides must be [1, 1] or [2, 2], got " + ToString(strides));
  }
  return strides[0];
}

// [out][in][3][3] to [out][3][3][in].
template <class Element>
std::vector<Element> ChannelsLast(const Element* weight, int64_t out, int64_t in) {
  constexpr int64_t kTaps = 9;
  std::vector<Element> moved(static_cast<size_t>(out * in * kTaps));
  for (int64_t n = 0; n < out; ++n) {
    for (int64_t c = 0; c < in; ++c) {
      for (int64_t tap = 0; tap < kTaps; ++tap) {
        moved[static_cast<size_t>((n * kTaps + tap) * in + c)] = weight[(n * in + c) * kTaps + tap];
      }
    }
  }
  return moved;
}

// [channels][1][3][3] to [3][3][channels].
template <class Element>
std::vector<Element> TapsFirst(const Element* weight, int64_t channels) {
  return ChannelsLast(weight, 1, channels);
}

}  // namespace mvf::ort

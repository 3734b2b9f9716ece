// The arithmetic of a depthwise 3x3 convolution on rows that hold every pixel under the kernel: padding is
// the caller's affair.
#pragma once

namespace mvf {
namespace {

// One vector of channels, packed: its bias, then its nine weights row by row.
constexpr int kDepthwiseVectors = 10;

// Packs `channels` channels from `first` on. `bias` may be null.
inline void PackDepthwise(const DwConv3x3Weights& weights, int64_t channels, int64_t first, float bias_scale,
                          Vec::Lane* packed) {
  for (int64_t i = 0; i < Vec::kLanes; ++i) {
    const int64_t c = first + i;
    packed[i] = ToLane(weights.bias && c < channels ? weights.bias[c] * bias_scale : 0.0f);
    for (int64_t tap = 0; tap < 9; ++tap) {
      packed[(1 + tap) * Vec::kLanes + i] = ToLane(c < channels ? weights.weight[tap * channels + c] : 0.0f);
    }
  }
}

// What one or two rows of output are made from and where they go. `in` points at the pixel under the kernel's
// left column for the first pixel of output.
template <class In, class Out, class InStride>
struct DepthwiseRows {
  const In* in[4];  // three rows, or four under two rows of output
  InStride in_stride;
  Out* out[2];
  int64_t out_stride;
};

// The sums of kPixels pixels from x on in each of kRows rows, and in between as many calls of between(i). A
// pixel's taps are added in the same order in every tile, so that the cut into tiles does not show in the
// result.
template <int kStride, int kRows, int kPixels, class Lanes, class Rows, class Between>
MVF_INLINE void DepthwiseSums(const Rows& rows, int64_t x, const Vec::Lane* packed, Lanes lanes, Vec* sum,
                              Between between) {
  static_assert(kRows == 1 || (kRows == 2 && kStride == 1), "two rows share their input at stride 1 only");
  constexpr int kSums = kRows * kPixels;
  constexpr int kInRows = kRows + 2;
  constexpr int kInPixels = (kPixels - 1) * kStride + 3;
  constexpr int kLoads = kInRows * kInPixels;
  const Vec bias = Vec::Load(packed);
#pragma GCC unroll 8
  for (int i = 0; i < kSums; ++i) sum[i] = bias;
#pragma GCC unroll 4
  for (int y = 0; y < kInRows; ++y) {
    const auto* in = rows.in[y] + x * kStride * rows.in_stride;
#pragma GCC unroll 9
    for (int j = 0; j < kInPixels; ++j) {
      const Vec value = lanes.Load(in + j * rows.in_stride);
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
        if (y < r || y > r + 2) continue;
#pragma GCC unroll 4
        for (int i = 0; i < kPixels; ++i) {
          const int tap = j - i * kStride;
          if (tap < 0 || tap > 2) continue;
          const Vec weight = Vec::Load(packed + (1 + (y - r) * 3 + tap) * Vec::kLanes);
          sum[r * kPixels + i] = MulAdd(value, weight, sum[r * kPixels + i]);
        }
      }
      const int load = y * kInPixels + j;
#pragma GCC unroll 8
      for (int i = 0; i < kSums; ++i) {
        if (kSums * load / kLoads <= i && i < kSums * (load + 1) / kLoads) between(i);
      }
    }
  }
}

// `count` pixels of kRows rows. An activation is one long chain of operations: each tile's is computed
// between the sums of the next tile, which hide it.
template <int kStride, int kRows, Activation kActivation, class Lanes, class Rows>
MVF_INLINE void DepthwiseSpan(const Rows& rows, int64_t count, const Vec::Lane* packed, Lanes lanes) {
  constexpr int kPixels = DepthwisePixels(kRows);
  constexpr int kSums = kRows * kPixels;
  const auto finish = [&](Vec sum, int row, int64_t x) {
    lanes.Store(Activate<kActivation>(sum), rows.out[row] + x * rows.out_stride);
  };
  int64_t x = 0;
  if constexpr (kActivation == Activation::kNone) {
    for (; x + kPixels <= count; x += kPixels) {
      Vec sum[kSums];
      DepthwiseSums<kStride, kRows, kPixels>(rows, x, packed, lanes, sum, [](int) {});
#pragma GCC unroll 8
      for (int i = 0; i < kSums; ++i) finish(sum[i], i / kPixels, x + i % kPixels);
    }
  } else if (kPixels <= count) {
    Vec waiting[kSums];
    DepthwiseSums<kStride, kRows, kPixels>(rows, 0, packed, lanes, waiting, [](int) {});
    for (x = kPixels; x + kPixels <= count; x += kPixels) {
      Vec sum[kSums];
      DepthwiseSums<kStride, kRows, kPixels>(rows, x, packed, lanes, sum, [&](int i) {
        finish(waiting[i], i / kPixels, x - kPixels + i % kPixels);
      });
#pragma GCC unroll 8
      for (int i = 0; i < kSums; ++i) waiting[i] = sum[i];
    }
#pragma GCC unroll 8
    for (int i = 0; i < kSums; ++i) finish(waiting[i], i / kPixels, x - kPixels + i % kPixels);
  }
  for (; x < count; ++x) {
    Vec sum[kRows];
    DepthwiseSums<kStride, kRows, 1>(rows, x, packed, lanes, sum, [](int) {});
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) finish(sum[r], r, x);
  }
}

}  // namespace
}  // namespace mvf

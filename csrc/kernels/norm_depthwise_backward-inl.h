// The backward pass of a depthwise 3x3 convolution between batch norms. A pixel of the input meets the same
// nine gradients (fewer at stride 2) for its own gradient and for the weights', so one walk serves both.
#pragma once

namespace mvf {
namespace {

inline StagedRows StagedGradients(const NormDepthwiseArgs& args) {
  // A segment may begin at an odd row, so that at stride 2, too, each row is allowed one of its own.
  return StagedRows(ConvolvedSize(args.width, args.stride), args.channels, args.height, 1, 2);
}

// Scratch: the sums, the weights' gradients [channel vectors][9][kLanes], the staged gradients.
struct DepthwiseBackwardLayout {
  int64_t weights, staged, slots;

  explicit DepthwiseBackwardLayout(const NormDepthwiseArgs& args)
      : weights(2 * ChannelSumPitch(args.channels)),
        staged(weights + 9 * ChannelSumPitch(args.channels)),
        slots(staged + StagedGradients(args).slots()) {}
};

inline size_t NormDepthwiseBackwardScratchBytes(const NormDepthwiseBackwardArgs& args) {
  return static_cast<size_t>(DepthwiseBackwardLayout(args.forward).slots) * sizeof(float);
}

// One vector of channels of an input row: the pointers go from pixel to pixel.
struct DepthwiseBackwardRow {
  const float* gradients[3];  // at the first column, of the output row that each row of the kernel made
  int64_t pitch;              // of their pixels
  const float* raw;
  float* output;
  int64_t stride;  // of raw's and output's pixels
  const float* packed;
};

struct DepthwiseBackwardSums {
  Vec total, product, weights[9];
};

// At stride 2 a pixel of an even row (column) lies under the kernel's middle row (column) only, one of an odd
// row under the two others.
template <int kStride>
constexpr bool Meets(bool odd, int tap) {
  return kStride == 1 || (tap == 1) != odd;
}

// The sum over the kernel for one pixel with value x, whose gradients stand at column `column`.
template <int kStride, bool kOddRow, bool kOddColumn>
MVF_INLINE Vec MeetGradients(const DepthwiseBackwardRow& row, int64_t column, Vec x, Vec (&weights)[9]) {
  Vec sum = Vec::Zero();
#pragma GCC unroll 3
  for (int i = 0; i < 3; ++i) {
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
      if (!Meets<kStride>(kOddRow, i) || !Meets<kStride>(kOddColumn, j)) continue;
      const int shift = kStride == 1 ? 1 - j : (j == 0 ? 1 : 0);
      const Vec gradient = Vec::Load(row.gradients[i] + (column + shift) * row.pitch);
      sum = MulAdd(gradient, Vec::Load(row.packed + (1 + 3 * i + j) * Vec::kLanes), sum);
      weights[3 * i + j] = MulAdd(gradient, x, weights[3 * i + j]);
    }
  }
  return sum;
}

template <int kStride, bool kOddRow, bool kSilu, class Lanes>
void DepthwiseBackwardPixels(const DepthwiseBackwardRow row, int64_t width, Vec scale, Vec offset, Vec mean,
                             Lanes lanes, DepthwiseBackwardSums& all) {
  DepthwiseBackwardSums sums = all;
  const auto pixel = [&](int64_t x, auto odd) {
    constexpr bool kOddColumn = decltype(odd){} != 0;
    const Vec raw = lanes.Load(row.raw + x * row.stride);
    const ActivationAt activated = ActivateAt(kSilu, MulAdd(raw, scale, offset));
    const Vec sum =
        MeetGradients<kStride, kOddRow, kOddColumn>(row, x / kStride, activated.value, sums.weights);
    const Vec inner = Mul(sum, activated.slope);
    lanes.Store(inner, row.output + x * row.stride);
    sums.total = Add(sums.total, inner);
    sums.product = MulAdd(inner, Sub(raw, mean), sums.product);
  };
  for (int64_t x = 0; x < width; x += 2) {
    pixel(x, Fixed<0>{});
    if (x + 1 < width) pixel(x + 1, Fixed<1>{});
  }
  all = sums;
}

template <int kStride, bool kOddRow, bool kSilu>
void DepthwiseBackwardLine(const NormDepthwiseArgs& args, const StagedRows& staged,
                           const float* const gradients[3], int64_t y, float* slots, float* weights) {
  const int64_t pitch = ChannelSumPitch(args.channels), at = y * args.width * args.channels;
  ForEachVector(0, args.channels, [&](int64_t c, auto lanes) {
    DepthwiseBackwardRow row = {{}, staged.pitch, args.input + at + c, args.output + at + c, args.channels,
                                {}};
    for (int i = 0; i < 3; ++i) row.gradients[i] = gradients[i] + staged.pitch + c;
    row.packed = static_cast<const float*>(args.packed) + c * kDepthwiseVectors;
    DepthwiseBackwardSums sums;
    sums.total = Vec::Load(slots + c);
    sums.product = Vec::Load(slots + pitch + c);
    for (int i = 0; i < 9; ++i) sums.weights[i] = Vec::Load(weights + 9 * c + i * Vec::kLanes);
    DepthwiseBackwardPixels<kStride, kOddRow, kSilu>(row, args.width, lanes.Load(args.norm.scale + c),
                                                     lanes.Load(args.norm.offset + c),
                                                     lanes.Load(args.norm.mean + c), lanes, sums);
    sums.total.Store(slots + c);
    sums.product.Store(slots + pitch + c);
    for (int i = 0; i < 9; ++i) sums.weights[i].Store(weights + 9 * c + i * Vec::kLanes);
  });
}

template <bool kSilu>
void DepthwiseBackwardBand(const NormDepthwiseArgs& args, const StagedRows& staged, const float* buffer,
                           int64_t first_staged, Range rows, float* slots, float* weights) {
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    // Row i of the kernel meets input row y at output row (y + 1 - i) / stride.
    const float* gradients[3];
    for (int i = 0; i < 3; ++i) {
      const int64_t meeting = args.stride == 1 ? y + 1 - i : (y + (i == 0 ? 1 : 0)) / 2;
      gradients[i] = buffer + (meeting - first_staged) * staged.row;
    }
    if (args.stride == 1) {
      DepthwiseBackwardLine<1, false, kSilu>(args, staged, gradients, y, slots, weights);
    } else if (y % 2 == 0) {
      DepthwiseBackwardLine<2, false, kSilu>(args, staged, gradients, y, slots, weights);
    } else {
      DepthwiseBackwardLine<2, true, kSilu>(args, staged, gradients, y, slots, weights);
    }
  }
}

inline void NormDepthwiseBackwardRun(const NormDepthwiseBackwardArgs& args, Range segments, void* scratch) {
  const NormDepthwiseArgs& forward = args.forward;
  const DepthwiseBackwardLayout layout(forward);
  float* const slots = static_cast<float*>(scratch);
  float* const weights = slots + layout.weights;
  float* const buffer = slots + layout.staged;
  const StagedRows staged = StagedGradients(forward);
  const int64_t channels = forward.channels, out_height = ConvolvedSize(forward.height, forward.stride);
  const auto compute = forward.norm.activation == Activation::kSilu ? DepthwiseBackwardBand<true>
                                                                    : DepthwiseBackwardBand<false>;
  for (int64_t segment = segments.begin; segment < segments.end; ++segment) {
    const Range rows = SegmentRows(forward.height, segment);
    ZeroElements(slots, layout.staged);
    for (int64_t first = rows.begin; first < rows.end; first += staged.band) {
      const int64_t end = Min(first + staged.band, rows.end);
      const int64_t stride = forward.stride;
      const int64_t first_staged = stride == 1 ? first - 1 : first / 2;
      const int64_t last_staged = stride == 1 ? end : end / 2;
      for (int64_t y = first_staged; y <= last_staged; ++y) {
        staged.Fill(y, out_height, buffer + (y - first_staged) * staged.row, [&](int64_t pixel, float* to) {
          StageGradients(args.gradient, pixel, staged.width, channels, to, staged.pitch);
        });
      }
      compute(forward, staged, buffer, first_staged, {first, end}, slots, weights);
    }
    StoreSums(slots, channels, forward.sums + 2 * segment * channels);
    float* const to = args.weight_gradients + 9 * segment * channels;
    ForEachVector(0, channels, [&](int64_t c, auto lanes) {
      for (int i = 0; i < 9; ++i)
        lanes.Store(Vec::Load(weights + 9 * c + i * Vec::kLanes), to + i * channels + c);
    });
  }
}

}  // namespace
}  // namespace mvf

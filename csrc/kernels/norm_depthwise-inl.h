// A depthwise 3x3 convolution between batch norms, as norm_linear is a linear layer. Rows that lie under the
// kernel are staged in scratch memory, with pixels of zeros around the map.
#pragma once

namespace mvf {
namespace {

// Rows of `width` pixels between two columns of zeros.
struct StagedRows {
  int64_t channels, pitch;  // of a pixel: whole vectors
  int64_t width, row;       // floats of a row
  int64_t band;             // rows of the map that is walked which are computed at once
  int64_t rows;             // that a band needs

  // `step` staged rows for each of the walked map, and `more` in all.
  StagedRows(int64_t width, int64_t channels, int64_t height, int64_t step, int64_t more)
      : channels(channels), pitch(RoundUp(channels, Vec::kLanes)), width(width), row((width + 2) * pitch) {
    constexpr int64_t kStagedBytes = 128 * 1024;
    const int64_t fitting = kStagedBytes / (row * int64_t{sizeof(float)});
    band = Min(Max((fitting - more) / step, 1), height);
    rows = step * band + more;
  }
  int64_t slots() const { return rows * row; }

  // Row y of a map of `height` rows, of which stage(first pixel of the map, to) writes the inner pixels.
  template <class Stage>
  void Fill(int64_t y, int64_t height, float* to, Stage stage) const {
    if (y < 0 || y >= height) return ZeroElements(to, row);
    ZeroElements(to, pitch);
    ZeroElements(to + (1 + width) * pitch, pitch);
    stage(y * width, to + pitch);
  }
};

// The part of `height` rows that is a segment.
inline Range SegmentRows(int64_t height, int64_t segment) {
  return {height * segment / kDepthwiseSegments, height * (segment + 1) / kDepthwiseSegments};
}

inline int64_t ConvolvedSize(int64_t size, int64_t stride) { return (size - 1) / stride + 1; }

inline StagedRows StagedInputs(const NormDepthwiseArgs& args) {
  return StagedRows(args.width, args.channels, ConvolvedSize(args.height, args.stride), args.stride, 2);
}

inline size_t NormDepthwiseScratchBytes(const NormDepthwiseArgs& args) {
  const int64_t sums = 2 * ChannelSumPitch(args.channels);
  return static_cast<size_t>(sums + StagedInputs(args).slots()) * sizeof(float);
}

template <int kStride>
void ConvolveStagedRow(const NormDepthwiseArgs& args, const StagedRows& staged, const float* rows,
                       float* out) {
  const int64_t width = ConvolvedSize(args.width, kStride);
  const float* packed = static_cast<const float*>(args.packed);
  ForEachVector(0, args.channels, [&](int64_t c, auto lanes) {
    DepthwiseRows<float, float, int64_t> span = {{}, staged.pitch, {out + c, nullptr}, args.channels};
    for (int i = 0; i < 3; ++i) span.in[i] = rows + i * staged.row + c;
    DepthwiseSpan<kStride, 1, Activation::kNone>(span, width, packed, lanes);
    packed += kDepthwiseVectors * Vec::kLanes;
  });
}

inline void NormDepthwiseRun(const NormDepthwiseArgs& args, Range segments, void* scratch) {
  float* const sums = static_cast<float*>(scratch);
  float* const buffer = sums + 2 * ChannelSumPitch(args.channels);
  const StagedRows staged = StagedInputs(args);
  const int64_t width = ConvolvedSize(args.width, args.stride);
  const int64_t out_row = width * args.channels;
  for (int64_t segment = segments.begin; segment < segments.end; ++segment) {
    const Range rows = SegmentRows(ConvolvedSize(args.height, args.stride), segment);
    ZeroElements(sums, 2 * ChannelSumPitch(args.channels));
    for (int64_t first = rows.begin; first < rows.end; first += staged.band) {
      const int64_t count = Min(staged.band, rows.end - first);
      for (int64_t i = 0; i < args.stride * (count - 1) + 3; ++i) {
        staged.Fill(args.stride * first - 1 + i, args.height, buffer + i * staged.row,
                    [&](int64_t pixel, float* to) {
                      StageNormalised(args.norm, args.input + pixel * args.channels, args.width,
                                      args.channels, to, staged.pitch);
                    });
      }
      for (int64_t i = 0; i < count; ++i) {
        const auto convolve = args.stride == 1 ? ConvolveStagedRow<1> : ConvolveStagedRow<2>;
        convolve(args, staged, buffer + args.stride * i * staged.row, args.output + (first + i) * out_row);
      }
      AddMoments(args.output + first * out_row, count * width, args.channels,
                 args.output + rows.begin * out_row, sums);
    }
    StoreSums(sums, args.channels, args.sums + 2 * segment * args.channels);
  }
}

}  // namespace
}  // namespace mvf

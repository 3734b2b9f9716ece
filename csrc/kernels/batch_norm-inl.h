// Batch norm by a batch's own statistics, with the activation behind it, and its backward pass: a pass over
// the rows for sums, and one for results.
#pragma once

namespace mvf {
namespace {

template <class Args>
size_t NoScratchBytes(const Args&) {
  return 0;
}

// A chunk's sums in float, before they go out in double: two rows of channels in whole vectors.
inline int64_t ChannelSumPitch(int64_t channels) { return RoundUp(channels, Vec::kLanes); }
template <class Args>
size_t ChannelSumScratchBytes(const Args& args) {
  return static_cast<size_t>(2 * ChannelSumPitch(args.channels)) * sizeof(float);
}

// Adds to the two rows of sums what terms(row, channel, lanes, first, second) adds to two vectors.
template <class Terms>
MVF_INLINE void AddRowSums(int64_t begin, int64_t end, int64_t channels, float* sums, Terms terms) {
  constexpr int64_t kBlockRows = 16;  // which stay in the first-level cache from vector to vector
  const int64_t pitch = ChannelSumPitch(channels);
  for (int64_t block = begin; block < end; block += kBlockRows) {
    const int64_t stop = Min(block + kBlockRows, end);
    ForEachVector(0, channels, [&](int64_t c, auto lanes) {
      Vec first = Vec::Load(sums + c), second = Vec::Load(sums + pitch + c);
      for (int64_t row = block; row < stop; ++row) terms(row, c, lanes, first, second);
      first.Store(sums + c);
      second.Store(sums + pitch + c);
    });
  }
}

inline void StoreSums(const float* sums, int64_t channels, double* to) {
  const int64_t pitch = ChannelSumPitch(channels);
  for (int64_t c = 0; c < channels; ++c) {
    to[c] = static_cast<double>(sums[c]);
    to[channels + c] = static_cast<double>(sums[pitch + c]);
  }
}

template <class Terms>
MVF_INLINE void SumChunks(int64_t rows, int64_t channels, Range chunks, double* sums, float* scratch,
                          Terms terms) {
  for (int64_t chunk = chunks.begin; chunk < chunks.end; ++chunk) {
    ZeroElements(scratch, 2 * ChannelSumPitch(channels));
    AddRowSums(chunk * kChannelSumRows, Min((chunk + 1) * kChannelSumRows, rows), channels, scratch, terms);
    StoreSums(scratch, channels, sums + 2 * chunk * channels);
  }
}

inline void ChannelMomentsRun(const ChannelMomentsArgs& args, Range chunks, void* scratch) {
  SumChunks(args.rows, args.channels, chunks, args.sums, static_cast<float*>(scratch),
            [&](int64_t row, int64_t c, auto lanes, Vec& first, Vec& second) {
              const float* const from = args.input + row * args.input_stride + c;
              const Vec deviation = Sub(lanes.Load(from), lanes.Load(args.shift + c));
              first = Add(first, deviation);
              second = MulAdd(deviation, deviation, second);
            });
}

// visit(row, channel, lanes) for every vector of the chunks' rows.
template <class Visit>
MVF_INLINE void ForEachVectorOf(int64_t rows, int64_t channels, Range chunks, Visit visit) {
  const int64_t end = Min(chunks.end * kChannelSumRows, rows);
  for (int64_t row = chunks.begin * kChannelSumRows; row < end; ++row) {
    ForEachVector(0, channels, [&](int64_t c, auto lanes) { visit(row, c, lanes); });
  }
}

template <Activation kActivation>
void NormalizeChunks(const NormalizeArgs& args, Range chunks) {
  ForEachVectorOf(args.rows, args.channels, chunks, [&](int64_t row, int64_t c, auto lanes) {
    const Vec x = lanes.Load(args.input + row * args.input_stride + c);
    Vec y = Activate<kActivation>(MulAdd(x, lanes.Load(args.scale + c), lanes.Load(args.offset + c)));
    if (args.residual) y = Add(y, lanes.Load(args.residual + row * args.residual_stride + c));
    lanes.Store(y, args.output + row * args.output_stride + c);
  });
}
inline void NormalizeRun(const NormalizeArgs& args, Range chunks, void*) {
  if (args.activation == Activation::kSilu) return NormalizeChunks<Activation::kSilu>(args, chunks);
  return NormalizeChunks<Activation::kNone>(args, chunks);
}

// silu'(x) = s * (1 + x * (1 - s)) with s = 1 / (1 + exp(-x))
template <Activation kActivation>
MVF_INLINE Vec Differentiate(Vec x, Vec upstream) {
  if constexpr (kActivation == Activation::kNone) return upstream;
  const Vec one = Vec::Set(1.0f);
  const Vec sigmoid = Div(one, OnePlusExp2(Mul(x, Vec::Set(-kLog2E))));
  return Mul(upstream, Mul(sigmoid, MulAdd(x, Sub(one, sigmoid), one)));
}

inline size_t NormalizeBackwardSumsScratchBytes(const NormalizeBackwardArgs& args) {
  return ChannelSumScratchBytes(args.forward);
}

template <Activation kActivation>
void NormalizeBackwardSumChunks(const NormalizeBackwardArgs& args, Range chunks, float* scratch) {
  const NormalizeArgs& forward = args.forward;
  SumChunks(forward.rows, forward.channels, chunks, args.sums, scratch,
            [&](int64_t row, int64_t c, auto lanes, Vec& first, Vec& second) {
              const Vec x = lanes.Load(forward.input + row * forward.input_stride + c);
              const Vec normalized = MulAdd(x, lanes.Load(forward.scale + c), lanes.Load(forward.offset + c));
              const Vec upstream = lanes.Load(args.upstream + row * args.upstream_stride + c);
              const Vec inner = Differentiate<kActivation>(normalized, upstream);
              if (forward.output) lanes.Store(inner, forward.output + row * forward.output_stride + c);
              first = Add(first, inner);
              second = MulAdd(inner, Sub(x, lanes.Load(args.mean + c)), second);
            });
}
inline void NormalizeBackwardSumsRun(const NormalizeBackwardArgs& args, Range chunks, void* scratch) {
  float* const sums = static_cast<float*>(scratch);
  if (args.forward.activation == Activation::kSilu) {
    return NormalizeBackwardSumChunks<Activation::kSilu>(args, chunks, sums);
  }
  return NormalizeBackwardSumChunks<Activation::kNone>(args, chunks, sums);
}

inline void NormalizeBackwardRun(const NormalizeBackwardArgs& args, Range chunks, void*) {
  const NormalizeArgs& forward = args.forward;
  ForEachVectorOf(forward.rows, forward.channels, chunks, [&](int64_t row, int64_t c, auto lanes) {
    float* const inner = forward.output + row * forward.output_stride + c;
    const Vec deviation =
        Sub(lanes.Load(forward.input + row * forward.input_stride + c), lanes.Load(args.mean + c));
    const Vec rest = MulAdd(deviation, lanes.Load(args.input_scale + c), lanes.Load(args.shift + c));
    lanes.Store(MulAdd(lanes.Load(inner), lanes.Load(args.inner_scale + c), rest), inner);
  });
}

}  // namespace
}  // namespace mvf

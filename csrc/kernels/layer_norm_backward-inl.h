// The backward pass of layer norm, row by row; its statistics are taken again.
#pragma once

namespace mvf {
namespace {

inline size_t LayerNormBackwardScratchBytes(const LayerNormBackwardArgs& args) {
  return static_cast<size_t>(2 * ChannelSumPitch(args.channels)) * sizeof(float);
}

inline void LayerNormBackwardRow(const LayerNormBackwardArgs& args, int64_t row, float* sums) {
  const int64_t channels = args.channels, pitch = ChannelSumPitch(channels);
  const float* const input = args.input + row * args.input_stride;
  const float* const upstream = args.upstream + row * args.upstream_stride;
  float* const output = args.output + row * args.output_stride;
  const RowMoments moments = Moments(input, channels, args.epsilon);
  const auto normalised = [&](int64_t c, auto lanes) {
    return Mul(Sub(lanes.Load(input + c), moments.mean), moments.inverse_deviation);
  };
  Vec total = Vec::Zero(), product = Vec::Zero();
  ForEachVector(0, channels, [&](int64_t c, auto lanes) {
    const Vec x = normalised(c, lanes), behind = lanes.Load(upstream + c);
    const Vec gradient = Mul(behind, lanes.Load(args.gamma + c));
    total = Add(total, gradient);
    product = MulAdd(gradient, x, product);  // beyond the row the gradient is 0
    Add(Vec::Load(sums + c), Mul(behind, x)).Store(sums + c);
    Add(Vec::Load(sums + pitch + c), behind).Store(sums + pitch + c);
  });
  const float share = 1.0f / static_cast<float>(channels);
  const Vec mean = Vec::Set(ReduceAdd(total) * share), slope = Vec::Set(ReduceAdd(product) * share);
  ForEachVector(0, channels, [&](int64_t c, auto lanes) {
    const Vec gradient = Mul(lanes.Load(upstream + c), lanes.Load(args.gamma + c));
    const Vec rest = NegMulAdd(normalised(c, lanes), slope, Sub(gradient, mean));
    Vec result = Mul(rest, moments.inverse_deviation);
    lanes.Store(result, output + c);
  });
}

inline void LayerNormBackwardRun(const LayerNormBackwardArgs& args, Range chunks, void* scratch) {
  float* const sums = static_cast<float*>(scratch);
  for (int64_t chunk = chunks.begin; chunk < chunks.end; ++chunk) {
    ZeroElements(sums, 2 * ChannelSumPitch(args.channels));
    const int64_t end = Min((chunk + 1) * kChannelSumRows, args.rows);
    for (int64_t row = chunk * kChannelSumRows; row < end; ++row) LayerNormBackwardRow(args, row, sums);
    StoreSums(sums, args.channels, args.sums + 2 * chunk * args.channels);
  }
}

}  // namespace
}  // namespace mvf

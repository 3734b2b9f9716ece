// Layer norm, with its scale and shift or without (where they are folded into the next layer's weights).
// Mean and variance take a pass each over a row that stays in the first-level cache: the variance of a row
// with a large mean would drown in the one-pass formula's cancellation.
#pragma once

namespace mvf {
namespace {

struct RowMoments {
  Floats mean;
  Floats inverse_deviation;
};

MVF_INLINE RowMoments Moments(const float* row, int64_t channels, float epsilon) {
  const float inverse_count = 1.0f / static_cast<float>(channels);
  Floats sum = Floats::Zero();
  ForEachVector<Floats>(0, channels, [&](int64_t c, auto lanes) { sum = Add(sum, lanes.Load(row + c)); });
  const Floats mean = Floats::Set(ReduceAdd(sum) * inverse_count);
  Floats squares = Floats::Zero();
  ForEachVector<Floats>(0, channels, [&](int64_t c, auto lanes) {
    const Floats deviation = lanes.Fill(Sub(lanes.Load(row + c), mean), 0.0f);
    squares = MulAdd(deviation, deviation, squares);
  });
  // By itself: roots and quotients of whole vectors take several times as long.
  const float variance = ReduceAdd(squares) * inverse_count + epsilon;
  return {mean, Floats::Set(1.0f / __builtin_sqrtf(variance))};
}

// Rows without scale and shift. Each output row is zero from `channels` up to `padded`.
template <class Element>
void NormalizeRows(const float* input, int64_t input_stride, int64_t rows, int64_t channels, float epsilon,
                   Element* output, int64_t padded) {
  for (int64_t m = 0; m < rows; ++m) {
    const float* from = input + m * input_stride;
    Element* to = output + m * padded;
    const RowMoments moments = Moments(from, channels, epsilon);
    ForEachVector<Floats>(0, channels, [&](int64_t c, auto lanes) {
      lanes.Store(Mul(Sub(lanes.Load(from + c), moments.mean), moments.inverse_deviation), to + c);
    });
    for (int64_t c = channels; c < padded; ++c) to[c] = Element{};
  }
}

template <class Dot>
size_t LayerNormScratchBytes(const LayerNormArgs&) {
  return 0;
}

template <class Dot>
void LayerNormRun(const LayerNormArgs& args, Range rows, void*) {
  using Element = typename Dot::Element;
  for (int64_t m = rows.begin; m < rows.end; ++m) {
    const float* from = args.input + m * args.input_stride;
    Element* to = static_cast<Element*>(args.output) + m * args.output_stride;
    const RowMoments moments = Moments(from, args.channels, args.epsilon);
    ForEachVector<Floats>(0, args.channels, [&](int64_t c, auto lanes) {
      const Floats x = Mul(Sub(lanes.Load(from + c), moments.mean), moments.inverse_deviation);
      lanes.Store(MulAdd(x, lanes.Load(args.gamma + c), lanes.Load(args.beta + c)), to + c);
    });
  }
}

}  // namespace
}  // namespace mvf

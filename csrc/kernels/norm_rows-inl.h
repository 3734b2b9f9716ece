// Rows on their way between batch norms: what a layer reads is made, a block at a time, in scratch memory.
#pragma once

namespace mvf {
namespace {

// Rows of a block, which divide a chunk.
constexpr int64_t kNormBlockRows = 128;

// normalised(row, channel, lanes, vector) for all vectors of `rows` rows, before their activation.
template <class Visit>
MVF_INLINE void ForEachNormalised(const ChannelNorm& norm, const float* raw, int64_t rows, int64_t channels,
                                  Visit visit) {
  for (int64_t row = 0; row < rows; ++row) {
    ForEachVector(0, channels, [&](int64_t c, auto lanes) {
      const Vec x = lanes.Load(raw + row * channels + c);
      visit(row, c, lanes, MulAdd(x, lanes.Load(norm.scale + c), lanes.Load(norm.offset + c)));
    });
  }
}

// `rows` rows of x to rows that are `stride` floats apart and have room for whole vectors.
inline void StageNormalised(const ChannelNorm& norm, const float* raw, int64_t rows, int64_t channels,
                            float* to, int64_t stride) {
  const bool silu = norm.activation == Activation::kSilu;
  ForEachNormalised(norm, raw, rows, channels, [&](int64_t row, int64_t c, auto, Vec normalised) {
    (silu ? Silu(normalised) : normalised).Store(to + row * stride + c);
  });
}

// The same of gradients for raw, from row `first` on.
inline void StageGradients(const NormGradient& gradient, int64_t first, int64_t rows, int64_t channels,
                           float* to, int64_t stride) {
  for (int64_t row = 0; row < rows; ++row) {
    const float* const inner = gradient.inner + (first + row) * channels;
    const float* const raw = gradient.raw + (first + row) * channels;
    ForEachVector(0, channels, [&](int64_t c, auto lanes) {
      Vec value = lanes.Load(inner + c);
      if (gradient.inner_scale) {
        const Vec deviation = Sub(lanes.Load(raw + c), lanes.Load(gradient.mean + c));
        const Vec rest =
            MulAdd(deviation, lanes.Load(gradient.input_scale + c), lanes.Load(gradient.shift + c));
        value = MulAdd(value, lanes.Load(gradient.inner_scale + c), rest);
      }
      value.Store(to + row * stride + c);
    });
  }
}

// An activation's value, and how fast it grows there.
struct ActivationAt {
  Vec value, slope;
};
MVF_INLINE ActivationAt SiluAt(Vec x) {
  const Vec one = Vec::Set(1.0f);
  const Vec sigmoid = Div(one, OnePlusExp2(Mul(x, Vec::Set(-kLog2E))));
  return {Mul(x, sigmoid), Mul(sigmoid, MulAdd(x, Sub(one, sigmoid), one))};
}
MVF_INLINE ActivationAt ActivateAt(bool silu, Vec x) {
  if (silu) return SiluAt(x);
  return {x, Vec::Set(1.0f)};
}

// Sums of d = row - shift and of d^2.
inline void AddMoments(const float* rows, int64_t count, int64_t channels, const float* shift, float* sums) {
  AddRowSums(0, count, channels, sums, [&](int64_t row, int64_t c, auto lanes, Vec& first, Vec& second) {
    const Vec deviation = Sub(lanes.Load(rows + row * channels + c), lanes.Load(shift + c));
    first = Add(first, deviation);
    second = MulAdd(deviation, deviation, second);
  });
}

}  // namespace
}  // namespace mvf

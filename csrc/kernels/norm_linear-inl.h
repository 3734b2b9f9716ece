// A linear layer between batch norms: forward with the sums that the next norm needs, and backward in one
// pass over the rows, for the input's gradient, the weight's, and the sums that the input's norm needs.
#pragma once

namespace mvf {
namespace {

// Scratch memory in floats; rows have room for whole vectors.
struct NormLinearLayout {
  int64_t in_stride, out_stride;
  int64_t sums = 0, inputs, gradients, slots;

  NormLinearLayout(int64_t rows, int64_t in, int64_t out, bool backward)
      : in_stride(RoundUp(in, Vec::kLanes)), out_stride(RoundUp(out, Vec::kLanes)) {
    const int64_t block = Min(rows, kNormBlockRows);
    inputs = 2 * Max(in_stride, out_stride);
    gradients = inputs + block * in_stride;
    slots = gradients + (backward ? block * out_stride : 0);
  }
  size_t bytes() const { return static_cast<size_t>(slots) * sizeof(float); }
};

inline NormLinearLayout LayoutOf(const NormLinearArgs& args) {
  return NormLinearLayout(args.rows, args.in, args.out, false);
}
inline NormLinearLayout LayoutOf(const NormLinearBackwardArgs& args) {
  return NormLinearLayout(args.rows, args.in, args.out, true);
}

inline size_t NormLinearScratchBytes(const NormLinearArgs& args) { return LayoutOf(args).bytes(); }

// block(first, rows) for the blocks of a chunk.
template <class Block>
MVF_INLINE void ForEachBlock(int64_t chunk, int64_t rows, Block block) {
  const int64_t end = Min((chunk + 1) * kChannelSumRows, rows);
  for (int64_t first = chunk * kChannelSumRows; first < end; first += kNormBlockRows) {
    block(first, Min(kNormBlockRows, end - first));
  }
}

inline void NormLinearRun(const NormLinearArgs& args, Range chunks, void* scratch) {
  const NormLinearLayout layout = LayoutOf(args);
  float* const slots = static_cast<float*>(scratch);
  float* const staged = slots + layout.inputs;
  for (int64_t chunk = chunks.begin; chunk < chunks.end; ++chunk) {
    ZeroElements(slots, layout.inputs);
    const float* const shift = args.output + chunk * kChannelSumRows * args.out;
    ForEachBlock(chunk, args.rows, [&](int64_t first, int64_t rows) {
      const float* const input = args.input + first * args.in;
      Operand<float> operand = {input, args.in, 0, 1, args.in};
      if (args.norm.scale) {
        StageNormalised(args.norm, input, rows, args.in, staged, layout.in_stride);
        operand = {staged, layout.in_stride, 0, 1, args.in};
      }
      float* const output = args.output + first * args.out;
      const Destination<float> to = {output, args.out, nullptr, 0};
      Gemm<DotF32, Activation::kNone, false>(operand, 0, rows, args.out, args.packed, to);
      if (args.sums) AddMoments(output, rows, args.out, shift, slots);
    });
    if (args.sums) StoreSums(slots, args.out, args.sums + 2 * chunk * args.out);
  }
}

inline size_t NormLinearBackwardScratchBytes(const NormLinearBackwardArgs& args) {
  return LayoutOf(args).bytes();
}

// g in `output` becomes g * activation', and x goes to `staged`.
template <bool kSilu>
void DifferentiateInputs(const NormLinearBackwardArgs& args, int64_t first, int64_t rows, float* staged,
                         int64_t staged_stride, float* sums) {
  const int64_t channels = args.in;
  const float* const raw = args.input + first * channels;
  float* const output = args.output ? args.output + first * channels : nullptr;
  AddRowSums(0, rows, channels, sums, [&](int64_t row, int64_t c, auto lanes, Vec& total, Vec& product) {
    const Vec x = lanes.Load(raw + row * channels + c);
    const Vec normalised = MulAdd(x, lanes.Load(args.norm.scale + c), lanes.Load(args.norm.offset + c));
    const ActivationAt activated = ActivateAt(kSilu, normalised);
    activated.value.Store(staged + row * staged_stride + c);
    if (!output) return;
    const Vec inner = Mul(lanes.Load(output + row * channels + c), activated.slope);
    lanes.Store(inner, output + row * channels + c);
    total = Add(total, inner);
    product = MulAdd(inner, Sub(x, lanes.Load(args.norm.mean + c)), product);
  });
}

inline void NormLinearBackwardBlock(const NormLinearBackwardArgs& args, const NormLinearLayout& layout,
                                    int64_t first, int64_t rows, float* slots, Rows<float> weight_gradient) {
  float* const gradients = slots + layout.gradients;
  StageGradients(args.gradient, first, rows, args.out, gradients, layout.out_stride);
  if (args.output) {
    const Operand<float> operand = {gradients, layout.out_stride, 0, 1, args.out};
    const Destination<float> to = {args.output + first * args.in, args.in,
                                   args.residual ? args.residual + first * args.in : nullptr, args.in};
    Gemm<DotF32>(Activation::kNone, operand, 0, rows, args.in, args.packed, to);
  }
  Rows<const float> input = {args.input + first * args.in, args.in};
  if (args.norm.scale) {
    input = {slots + layout.inputs, layout.in_stride};
    const auto differentiate =
        args.norm.activation == Activation::kSilu ? DifferentiateInputs<true> : DifferentiateInputs<false>;
    differentiate(args, first, rows, slots + layout.inputs, layout.in_stride, slots);
  }
  AddOuterProducts({gradients, layout.out_stride}, args.out, input, args.in, rows, weight_gradient);
}

inline void NormLinearBackwardRun(const NormLinearBackwardArgs& args, Range shares, void* scratch) {
  const NormLinearLayout layout = LayoutOf(args);
  float* const slots = static_cast<float*>(scratch);
  const int64_t chunks = CeilDiv(args.rows, kChannelSumRows);
  for (int64_t share = shares.begin; share < shares.end; ++share) {
    const Rows<float> weight_gradient = {args.weight_gradients + share * args.out * args.in, args.in};
    ZeroElements(weight_gradient.data, args.out * args.in);
    const int64_t end = (share + 1) * chunks / args.shares;
    for (int64_t chunk = share * chunks / args.shares; chunk < end; ++chunk) {
      ZeroElements(slots, layout.inputs);
      ForEachBlock(chunk, args.rows, [&](int64_t first, int64_t rows) {
        NormLinearBackwardBlock(args, layout, first, rows, slots, weight_gradient);
      });
      if (args.sums) StoreSums(slots, args.in, args.sums + 2 * chunk * args.in);
    }
  }
}

}  // namespace
}  // namespace mvf

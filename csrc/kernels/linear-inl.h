// Linear: the matrix multiply over rows, which are normalised first where the shape asks for it.
#pragma once

namespace mvf {
namespace {

template <class Dot>
size_t LinearPackedBytes(const LinearShape& shape) {
  return PanelSlots(shape.out, Units<Dot>(shape.in)) * sizeof(Vec::Lane);
}

template <class Dot>
void LinearPack(const LinearShape& shape, const LinearWeights& weights, void* packed) {
  PackPanels<Dot>(
      shape.out, 1, shape.in, [&](int64_t n, int64_t) { return weights.weight + n * shape.in; }, weights.bias,
      packed);
}

// Elements in a row of scratch: whole units.
template <class Dot>
constexpr int64_t StagedStride(int64_t channels) {
  return Units<Dot>(channels) * Dot::kUnit;
}

// Rows staged at once: they and the output that they give stay in the second-level cache beside the weights.
constexpr int64_t kStagedRows = 192;

// Rows that the multiply cannot read in place: to be normalised, or not made of whole units.
template <class Dot>
bool NeedsStaging(const LinearArgs& args) {
  return args.shape.normalize || args.shape.in % Dot::kUnit != 0 || args.input_stride % Dot::kUnit != 0;
}

template <class Dot>
size_t LinearScratchBytes(const LinearArgs& args) {
  if (!NeedsStaging<Dot>(args)) return 0;
  return Min(args.rows, kStagedRows) * StagedStride<Dot>(args.shape.in) * sizeof(typename Dot::Element);
}

template <class Dot>
void StageRows(const LinearArgs& args, int64_t first, int64_t rows, typename Dot::Element* staged) {
  using Element = typename Dot::Element;
  const int64_t channels = args.shape.in, stride = StagedStride<Dot>(channels);
  if (args.shape.normalize) {
    const float* input = static_cast<const float*>(args.input) + first * args.input_stride;
    NormalizeRows(input, args.input_stride, rows, channels, args.shape.epsilon, staged, stride);
    return;
  }
  for (int64_t m = 0; m < rows; ++m) {
    const Element* from = static_cast<const Element*>(args.input) + (first + m) * args.input_stride;
    Element* to = staged + m * stride;
    for (int64_t c = 0; c < stride; ++c) to[c] = c < channels ? from[c] : Element{};
  }
}

template <class Dot, class Out>
void LinearRows(const LinearArgs& args, Range rows, void* scratch) {
  using Element = typename Dot::Element;
  using Unit = typename Dot::Unit;
  const LinearShape& shape = args.shape;
  const int64_t units = Units<Dot>(shape.in);
  const Destination<Out> to = {static_cast<Out*>(args.output), args.output_stride,
                               static_cast<const Out*>(args.residual), args.residual_stride};
  if (!NeedsStaging<Dot>(args)) {
    const Operand<Unit> operand = {static_cast<const Unit*>(args.input), args.input_stride / Dot::kUnit, 0, 1,
                                   units};
    Gemm<Dot>(shape.activation, operand, rows.begin, rows.end, shape.out, args.packed, to);
    return;
  }
  Element* staged = static_cast<Element*>(scratch);
  const Operand<Unit> operand = {static_cast<const Unit*>(scratch), units, 0, 1, units};
  for (int64_t m = rows.begin; m < rows.end; m += kStagedRows) {
    const int64_t count = Min(kStagedRows, rows.end - m);
    StageRows<Dot>(args, m, count, staged);
    const Destination<Out> block = {to.data + m * to.stride, to.stride,
                                    to.residual ? to.residual + m * to.residual_stride : nullptr,
                                    to.residual_stride};
    Gemm<Dot>(shape.activation, operand, 0, count, shape.out, args.packed, block);
  }
}

template <class Dot>
void LinearRun(const LinearArgs& args, Range rows, void* scratch) {
  if (args.float_output) {
    LinearRows<Dot, float>(args, rows, scratch);
  } else {
    LinearRows<Dot, typename Dot::Element>(args, rows, scratch);
  }
}

}  // namespace
}  // namespace mvf

// The 8-bit linear layer: the matrix multiply over rows of bytes, or of floats that are quantised on the way.
#pragma once

namespace mvf {
namespace {

// Packed: the epilogue, the panels, and with dynamic rows the sums of each column's weights.
inline size_t Int8PanelsBytes(int64_t columns, int64_t k) {
  return static_cast<size_t>(Int8PanelSlots(columns, Int8Units(k))) * sizeof(float);
}
inline int64_t Int8PaddedColumns(int64_t columns) { return ColumnVectors(columns) * Vec::kLanes; }

inline size_t Int8LinearPackedBytes(const Int8LinearShape& shape) {
  const int64_t sums = shape.input == Int8Input::kDynamic ? Int8PaddedColumns(shape.out) : 0;
  return sizeof(PackedEpilogue) + Int8PanelsBytes(shape.out, shape.in) +
         static_cast<size_t>(sums) * sizeof(int32_t);
}

// The panels of weights [out][in] over bytes with the zero point `zero`, of which there may be more than
// `in`.
inline void PackInt8Matrix(int64_t in, int64_t out, const Int8Weights& weights,
                           const Requantization& requantization, int32_t zero, void* packed,
                           int64_t padded_in = 0) {
  PackInt8Panels(
      0, out, 1, in, Max(in, padded_in), [&](int64_t n, int64_t) { return weights.weight + n * in; },
      weights.bias, requantization,
      [&](int64_t n) { return -zero * SumOfWeights(weights.weight + n * in, in); }, packed);
}

inline void Int8LinearPack(const Int8LinearShape& shape, const Int8LinearWeights& weights, void* packed) {
  const bool dynamic = shape.input == Int8Input::kDynamic;
  PackedEpilogue* const epilogue = static_cast<PackedEpilogue*>(packed);
  PackEpilogue(weights.requantization.table, weights.activation, epilogue);
  PackInt8Matrix(shape.in, shape.out, weights.weights, weights.requantization, dynamic ? 0 : shape.input_zero,
                 epilogue + 1);
  if (!dynamic) return;
  char* const panels = reinterpret_cast<char*>(epilogue + 1);
  int32_t* const sums = reinterpret_cast<int32_t*>(panels + Int8PanelsBytes(shape.out, shape.in));
  for (int64_t n = 0; n < Int8PaddedColumns(shape.out); ++n) {
    sums[n] = n < shape.out
                  ? static_cast<int32_t>(SumOfWeights(weights.weights.weight + n * shape.in, shape.in))
                  : 0;
  }
}

// Rows that the multiply cannot read in place.
inline bool NeedsInt8Staging(const Int8LinearArgs& args) {
  return !kReadsInPlace || args.shape.input != Int8Input::kBytes || args.shape.in % Int8Dot::kUnit != 0 ||
         args.input_stride % Int8Dot::kUnit != 0;
}

// Scratch: staged rows, one row of bytes, and each row's scale and zero point.
struct Int8StagedRows {
  int64_t stride;
  Int8Dot::Element* elements;
  uint8_t* bytes;
  float* scale;
  int32_t* zero;
  size_t size;

  Int8StagedRows(int64_t channels, int64_t rows, void* scratch) : stride(Int8Stride(channels)), size(0) {
    char* const start = static_cast<char*>(scratch);
    const auto place = [&](int64_t bytes_needed) {
      const size_t at = size;
      size += static_cast<size_t>(RoundUp(bytes_needed, int64_t{kAlignment}));
      return start ? start + at : nullptr;
    };
    elements = reinterpret_cast<Int8Dot::Element*>(place(rows * stride * int64_t{sizeof(Int8Dot::Element)}));
    bytes = reinterpret_cast<uint8_t*>(place(channels));
    scale = reinterpret_cast<float*>(place(rows * int64_t{sizeof(float)}));
    zero = reinterpret_cast<int32_t*>(place(rows * int64_t{sizeof(int32_t)}));
  }

  Operand<Int8Dot::Unit> AsOperand() const {
    const int64_t units = stride / Int8Dot::kUnit;
    return {reinterpret_cast<const Int8Dot::Unit*>(elements), units, 0, 1, units};
  }
};

inline size_t Int8LinearScratchBytes(const Int8LinearArgs& args) {
  if (!NeedsInt8Staging(args)) return 0;
  return Int8StagedRows(args.shape.in, Min(args.rows, kStagedRows), nullptr).size;
}

inline void StageInt8Rows(const Int8LinearArgs& args, int64_t first, int64_t rows,
                          const Int8StagedRows& staged) {
  const Int8LinearShape& shape = args.shape;
  for (int64_t m = 0; m < rows; ++m) {
    Int8Dot::Element* const to = staged.elements + m * staged.stride;
    if (shape.input == Int8Input::kBytes) {
      const uint8_t* from = static_cast<const uint8_t*>(args.input) + (first + m) * args.input_stride;
      StageBytes<Int8Dot>(from, shape.in, staged.stride, to);
      continue;
    }
    const float* from = static_cast<const float*>(args.input) + (first + m) * args.input_stride;
    const RowMoments moments = MomentsOrNone(shape.normalize, from, shape.in, shape.epsilon);
    ScaleAndZero scale = {shape.input_scale, shape.input_zero};
    if (shape.input == Int8Input::kDynamic) {
      scale = ScaleOfRow(from, shape.in, moments);
      staged.scale[m] = scale.scale;
      staged.zero[m] = scale.zero;
    }
    QuantizeAndStage<Int8Dot>(from, shape.in, moments, Quantizer::Of(scale.scale, scale.zero), staged.bytes,
                              staged.stride, to);
  }
}

// Rows [first, first + count) of the output from the operand's rows [0, count).
inline void Int8LinearBlock(const Int8LinearArgs& args, const Operand<Int8Dot::Unit>& operand, int64_t first,
                            int64_t count, const Int8StagedRows* dynamic) {
  const Int8LinearShape& shape = args.shape;
  const PackedEpilogue* const packed = static_cast<const PackedEpilogue*>(args.packed);
  const char* const panels = reinterpret_cast<const char*>(packed + 1);
  DynamicRows rows;
  if (dynamic) {
    rows = {dynamic->scale, dynamic->zero,
            reinterpret_cast<const int32_t*>(panels + Int8PanelsBytes(shape.out, shape.in))};
  }
  const auto multiply = [&](auto epilogue) { Gemm<Int8Dot>(operand, 0, count, shape.out, panels, epilogue); };
  if (args.sums) {
    int32_t* const sums = args.sums + first * shape.out;
    if (dynamic) return multiply(SumsEpilogue<true>{sums, shape.out, rows});
    return multiply(SumsEpilogue<false>{sums, shape.out, rows});
  }
  if (shape.float_output) {
    const Destination<float> to = {
        static_cast<float*>(args.output) + first * args.output_stride, args.output_stride,
        args.residual ? args.residual + first * args.residual_stride : nullptr, args.residual_stride};
    if (dynamic) return multiply(FloatEpilogue<true>{to, packed->activation, rows});
    return multiply(FloatEpilogue<false>{to, packed->activation, rows});
  }
  const ByteDestination to = {static_cast<uint8_t*>(args.output) + first * args.output_stride,
                              args.output_stride, nullptr, 0, 0.0f};
  MultiplyToBytes(*packed, to, multiply);
}

inline void Int8LinearRun(const Int8LinearArgs& args, Range rows, void* scratch) {
  const int64_t units = Int8Units(args.shape.in);
  if (!NeedsInt8Staging(args)) {
    const int64_t stride = args.input_stride / Int8Dot::kUnit;
    const uint8_t* const input = static_cast<const uint8_t*>(args.input) + rows.begin * args.input_stride;
    const Operand<Int8Dot::Unit> operand = {reinterpret_cast<const Int8Dot::Unit*>(input), stride, 0, 1,
                                            units};
    return Int8LinearBlock(args, operand, rows.begin, rows.end - rows.begin, nullptr);
  }
  const Int8StagedRows staged(args.shape.in, Min(args.rows, kStagedRows), scratch);
  const bool dynamic = args.shape.input == Int8Input::kDynamic;
  for (int64_t m = rows.begin; m < rows.end; m += kStagedRows) {
    const int64_t count = Min(kStagedRows, rows.end - m);
    StageInt8Rows(args, m, count, staged);
    Int8LinearBlock(args, staged.AsOperand(), m, count, dynamic ? &staged : nullptr);
  }
}

}  // namespace
}  // namespace mvf

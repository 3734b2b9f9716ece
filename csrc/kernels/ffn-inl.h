// A transformer layer's feed-forward half, block of rows by block of rows, so that neither the normalised
// rows nor the wide hidden ones leave the cache.
#pragma once

namespace mvf {
namespace {

inline LinearShape FfnUpShape(const FfnShape& shape) {
  return {shape.dim, shape.hidden, Activation::kSilu, true, shape.epsilon};
}
inline LinearShape FfnDownShape(const FfnShape& shape) { return {shape.hidden, shape.dim}; }

template <class Dot>
size_t FfnPackedBytes(const FfnShape& shape) {
  return LinearPackedBytes<Dot>(FfnUpShape(shape)) + LinearPackedBytes<Dot>(FfnDownShape(shape));
}

template <class Dot>
void FfnPack(const FfnShape& shape, const FfnWeights& weights, void* packed) {
  LinearPack<Dot>(FfnUpShape(shape), weights.up, packed);
  LinearPack<Dot>(FfnDownShape(shape), weights.down,
                  static_cast<char*>(packed) + LinearPackedBytes<Dot>(FfnUpShape(shape)));
}

// Rows in flight: enough that streaming both weights from the second-level cache is hidden behind arithmetic.
constexpr int64_t kFfnRows = 128;

template <class Dot>
int64_t FfnRowElements(const FfnShape& shape) {
  return StagedStride<Dot>(shape.dim) + StagedStride<Dot>(shape.hidden);
}

template <class Dot>
size_t FfnScratchBytes(const FfnArgs& args) {
  return Min(args.rows, kFfnRows) * FfnRowElements<Dot>(args.shape) * sizeof(typename Dot::Element);
}

template <class Dot>
void FfnRun(const FfnArgs& args, Range rows, void* scratch) {
  using Element = typename Dot::Element;
  using Unit = typename Dot::Unit;
  const FfnShape& shape = args.shape;
  const int64_t block = Min(args.rows, kFfnRows);
  const int64_t stride = StagedStride<Dot>(shape.dim), hidden_stride = StagedStride<Dot>(shape.hidden);
  const void* down = static_cast<const char*>(args.packed) + LinearPackedBytes<Dot>(FfnUpShape(shape));
  Element* normalized = static_cast<Element*>(scratch);
  Element* hidden = normalized + block * stride;
  const Operand<Unit> up_operand = {reinterpret_cast<const Unit*>(normalized), Units<Dot>(shape.dim), 0, 1,
                                    Units<Dot>(shape.dim)};
  const Operand<Unit> down_operand = {reinterpret_cast<const Unit*>(hidden), Units<Dot>(shape.hidden), 0, 1,
                                      Units<Dot>(shape.hidden)};
  for (int64_t m = rows.begin; m < rows.end; m += block) {
    const int64_t count = Min(block, rows.end - m);
    float* stream = args.stream + m * args.stream_stride;
    NormalizeRows(stream, args.stream_stride, count, shape.dim, shape.epsilon, normalized, stride);
    Gemm<Dot, Activation::kSilu, false>(up_operand, 0, count, shape.hidden, args.packed,
                                        Destination<Element>{hidden, hidden_stride, nullptr, 0});
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t c = shape.hidden; c < hidden_stride; ++c) hidden[i * hidden_stride + c] = Element{};
    }
    Gemm<Dot, Activation::kNone, true>(
        down_operand, 0, count, shape.dim, down,
        Destination<float>{stream, args.stream_stride, stream, args.stream_stride});
  }
}

}  // namespace
}  // namespace mvf

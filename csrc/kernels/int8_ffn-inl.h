// A transformer layer's feed-forward half over bytes, block of rows by block of rows, so that neither the
// quantised rows nor the wide hidden ones leave the cache. The residual stream stays float.
#pragma once

namespace mvf {
namespace {

// Packed: the epilogue of `up`, the panels of `up`, those of `down`.
inline size_t Int8FfnPackedBytes(const Int8FfnShape& shape) {
  return sizeof(PackedEpilogue) + Int8PanelsBytes(shape.hidden, shape.dim) +
         Int8PanelsBytes(shape.dim, shape.hidden);
}

inline void Int8FfnPack(const Int8FfnShape& shape, const Int8FfnWeights& weights, void* packed) {
  PackedEpilogue* const epilogue = static_cast<PackedEpilogue*>(packed);
  PackEpilogue(weights.up_requantization.table, Activation::kNone, epilogue);
  PackInt8Matrix(shape.dim, shape.hidden, weights.up, weights.up_requantization, shape.input_zero,
                 epilogue + 1);
  const Requantization to_float = {weights.down_multiplier, nullptr, nullptr};
  PackInt8Matrix(shape.hidden, shape.dim, weights.down, to_float, shape.hidden_zero,
                 reinterpret_cast<char*>(epilogue + 1) + Int8PanelsBytes(shape.hidden, shape.dim));
}

// Scratch: staged rows of both multiplies, and the hidden bytes where they are not staged themselves.
struct Int8FfnScratch {
  Int8StagedRows up;
  Int8StagedRows down;
  uint8_t* hidden;
  int64_t hidden_stride;
  size_t size;

  Int8FfnScratch(const Int8FfnShape& shape, int64_t rows, char* scratch)
      : up(shape.dim, rows, scratch),
        down(shape.hidden, rows, scratch ? scratch + up.size : nullptr),
        hidden_stride(kReadsBytes ? down.stride : shape.hidden),
        size(up.size + down.size) {
    if constexpr (kReadsBytes) {
      hidden = reinterpret_cast<uint8_t*>(down.elements);
    } else {
      hidden = reinterpret_cast<uint8_t*>(scratch ? scratch + size : nullptr);
      size += static_cast<size_t>(rows * hidden_stride);
    }
  }
};

inline size_t Int8FfnScratchBytes(const Int8FfnArgs& args) {
  return Int8FfnScratch(args.shape, Min(args.rows, kFfnRows), nullptr).size;
}

// The hidden bytes as the second multiply reads them.
template <class Dot>
void StageHidden(const Int8FfnShape& shape, int64_t rows, const Int8FfnScratch& staged) {
  for (int64_t i = 0; i < rows; ++i) {
    typename Dot::Element* const to = staged.down.elements + i * staged.down.stride;
    if constexpr (kReadsBytes) {
      FinishBytes<Dot>(shape.hidden, staged.down.stride, to);
    } else {
      StageBytes<Dot>(staged.hidden + i * staged.hidden_stride, shape.hidden, staged.down.stride, to);
    }
  }
}

inline void Int8FfnRun(const Int8FfnArgs& args, Range rows, void* scratch) {
  const Int8FfnShape& shape = args.shape;
  const int64_t block = Min(args.rows, kFfnRows);
  const PackedEpilogue* const packed = static_cast<const PackedEpilogue*>(args.packed);
  const char* const up = reinterpret_cast<const char*>(packed + 1);
  const char* const down = up + Int8PanelsBytes(shape.hidden, shape.dim);
  const Int8FfnScratch staged(shape, block, static_cast<char*>(scratch));
  const Quantizer quantizer = Quantizer::Of(shape.input_scale, shape.input_zero);
  for (int64_t m = rows.begin; m < rows.end; m += block) {
    const int64_t count = Min(block, rows.end - m);
    float* const stream = args.stream + m * args.stream_stride;
    for (int64_t i = 0; i < count; ++i) {
      const float* const row = stream + i * args.stream_stride;
      QuantizeAndStage<Int8Dot>(row, shape.dim, Moments(row, shape.dim, shape.epsilon), quantizer,
                                staged.up.bytes, staged.up.stride, staged.up.elements + i * staged.up.stride);
    }
    const ByteDestination to_hidden = {staged.hidden, staged.hidden_stride, nullptr, 0, 0.0f};
    MultiplyToBytes(*packed, to_hidden, [&](auto epilogue) {
      Gemm<Int8Dot>(staged.up.AsOperand(), 0, count, shape.hidden, up, epilogue);
    });
    StageHidden<Int8Dot>(shape, count, staged);
    const Destination<float> to_stream = {stream, args.stream_stride, stream, args.stream_stride};
    Gemm<Int8Dot>(staged.down.AsOperand(), 0, count, shape.dim, down,
                  FloatEpilogue<false>{to_stream, Activation::kNone, {}});
  }
}

}  // namespace
}  // namespace mvf

// bind.h's part for the steps on bytes.
#pragma once

#include "engine/frame.h"
#include "engine/work.h"

namespace mvf {

Int8StemArgs BindInt8Stem(const Frame& frame, size_t step);
Int8InvertedResidualArgs BindInt8InvertedResidual(const Frame& frame, size_t step);
Int8Conv3x3Args BindInt8Conv3x3(const Frame& frame, size_t step);
Int8LinearArgs BindInt8Linear(const Frame& frame, size_t step);
Int8FfnArgs BindInt8Ffn(const Frame& frame, size_t step);
Int8AttentionArgs BindInt8Attention(const Frame& frame, size_t step);
Int8LayerNormArgs BindInt8LayerNorm(const Frame& frame, size_t step);
Int8GlobalPoolArgs BindInt8GlobalPool(const Frame& frame, size_t step);
QuantizeArgs BindQuantize(const Frame& frame, size_t step);
QuantizeArgs BindDequantize(const Frame& frame, size_t step);

inline Work WorkOf(const Int8StemArgs& args) { return {args.output.height, 4}; }
inline Work WorkOf(const Int8InvertedResidualArgs& args) { return {args.output.height, 4}; }
inline Work WorkOf(const Int8Conv3x3Args& args) { return {args.output.height, 4}; }
inline Work WorkOf(const Int8DwConv3x3Args& args) { return {args.output.height, 4}; }
inline Work WorkOf(const Int8LinearArgs& args) { return {args.rows, 8}; }
inline Work WorkOf(const Int8FfnArgs& args) { return {args.rows, 8}; }
inline Work WorkOf(const Int8AttentionArgs& args) {
  return {args.patch_height * args.patch_width * args.heads, 1};
}
inline Work WorkOf(const Int8LayerNormArgs& args) { return {args.norm.rows, 8}; }
inline Work WorkOf(const Int8GlobalPoolArgs& args) { return {args.input.channels, 64}; }
inline Work WorkOf(const QuantizeArgs& args) { return {args.rows, 8}; }

// VisitStep for the kinds that bind.h does not name. Kernels: Int8Kernels, or CudaInt8Kernels.
template <class Kernels, class Visit>
void VisitInt8Step(const Kernels& kernels, const Frame& frame, size_t step, Visit&& visit) {
  switch (frame.plan->steps[step].kind) {
    case StepKind::kInt8Stem:
      return visit(kernels.stem, BindInt8Stem(frame, step));
    case StepKind::kInt8InvertedResidual:
      return visit(kernels.inverted_residual, BindInt8InvertedResidual(frame, step));
    case StepKind::kInt8Conv3x3:
      return visit(kernels.conv3x3, BindInt8Conv3x3(frame, step));
    case StepKind::kInt8Linear:
      return visit(kernels.linear, BindInt8Linear(frame, step));
    case StepKind::kInt8Ffn:
      return visit(kernels.ffn, BindInt8Ffn(frame, step));
    case StepKind::kInt8Attention:
      return visit(kernels.attention, BindInt8Attention(frame, step));
    case StepKind::kInt8LayerNorm:
      return visit(kernels.layer_norm, BindInt8LayerNorm(frame, step));
    case StepKind::kInt8GlobalPool:
      return visit(kernels.global_pool, BindInt8GlobalPool(frame, step));
    case StepKind::kQuantize:
      return visit(kernels.quantize, BindQuantize(frame, step));
    case StepKind::kDequantize:
      return visit(kernels.dequantize, BindDequantize(frame, step));
    default:
      return;
  }
}

}  // namespace mvf

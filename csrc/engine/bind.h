// From a step to its kernel: one function per kind fills the kernel's arguments, one switch picks among them.
#pragma once

#include "engine/frame.h"
#include "engine/int8_bind.h"
#include "engine/work.h"

namespace mvf {

StemArgs BindStem(const Frame& frame, size_t step);
InvertedResidualArgs BindInvertedResidual(const Frame& frame, size_t step);
Conv3x3Args BindConv3x3(const Frame& frame, size_t step);
LinearArgs BindLinear(const Frame& frame, size_t step);
FfnArgs BindFfn(const Frame& frame, size_t step);
AttentionArgs BindAttention(const Frame& frame, size_t step);
LayerNormArgs BindLayerNorm(const Frame& frame, size_t step);
ResizeArgs BindResize(const Frame& frame, size_t step);
GlobalPoolArgs BindGlobalPool(const Frame& frame, size_t step);

// See Work.
inline Work WorkOf(const StemArgs& args) { return {args.output.height, 4}; }
inline Work WorkOf(const InvertedResidualArgs& args) { return {args.output.height, 4}; }
inline Work WorkOf(const Conv3x3Args& args) { return {args.output.height, 4}; }
inline Work WorkOf(const DwConv3x3Args& args) { return {args.output.height, 4}; }
inline Work WorkOf(const LinearArgs& args) { return {args.rows, 8}; }
inline Work WorkOf(const FfnArgs& args) { return {args.rows, 8}; }
inline Work WorkOf(const AttentionArgs& args) {
  return {args.patch_height * args.patch_width * args.heads, 1};
}
inline Work WorkOf(const LayerNormArgs& args) { return {args.rows, 8}; }
inline Work WorkOf(const ResizeArgs& args) { return {args.output.height, 1}; }
inline Work WorkOf(const GlobalPoolArgs& args) { return {args.input.channels, 16}; }
inline Work WorkOf(const SoftmaxArgs& args) { return {args.rows, 8}; }

// Calls visit(kernel, args) with the step's kernel in `table` and its arguments, for the kinds before
// kInt8Stem and maps of floats. Table: KernelTable, or CudaTable.
template <class Table, class Visit>
void VisitFloatStep(const Table& table, const Frame& frame, size_t step, Visit&& visit) {
  switch (frame.plan->steps[step].kind) {
    case StepKind::kStem:
      return visit(table.stem, BindStem(frame, step));
    case StepKind::kInvertedResidual:
      return visit(table.inverted_residual, BindInvertedResidual(frame, step));
    case StepKind::kConv3x3:
      return visit(table.conv3x3, BindConv3x3(frame, step));
    case StepKind::kLinear:
      return visit(table.linear, BindLinear(frame, step));
    case StepKind::kFfn:
      return visit(table.ffn, BindFfn(frame, step));
    case StepKind::kAttention:
      return visit(table.attention, BindAttention(frame, step));
    case StepKind::kLayerNorm:
      return visit(table.layer_norm, BindLayerNorm(frame, step));
    case StepKind::kResizeToPatch:
    case StepKind::kResizeLike:
      return visit(table.resize, BindResize(frame, step));
    case StepKind::kGlobalPool:
      return visit(table.global_pool, BindGlobalPool(frame, step));
    default:
      return;
  }
}

// The same for every kind.
template <class Table, class Visit>
void VisitStep(const Table& table, const Frame& frame, size_t step, Visit&& visit) {
  const Step& visited = frame.plan->steps[step];
  const bool resizes = visited.kind == StepKind::kResizeToPatch || visited.kind == StepKind::kResizeLike;
  if (resizes && frame.plan->tensors[visited.input].type == TensorType::kBytes)
    return visit(table.int8->resize, BindResize(frame, step));
  if (IsInt8(visited.kind)) return VisitInt8Step(*table.int8, frame, step, visit);
  VisitFloatStep(table, frame, step, visit);
}

}  // namespace mvf

// From a step to its kernel: one function per kind fills the kernel's arguments, one switch picks among them.
#pragma once

#include "engine/plan.h"
#include "engine/program.h"
#include "engine/weights.h"

namespace mvf {

// One image on its way through a program.
struct Frame {
  const Plan* plan = nullptr;
  const Program* program = nullptr;
  const PackedWeights* weights = nullptr;
  DType element = DType::kF32;
  std::byte* arena = nullptr;  // null where only sizes are asked
  Image image;
};

// A tensor of the frame, dense.
Map TensorMap(const Frame& frame, int tensor);

StemArgs BindStem(const Frame& frame, size_t step);
InvertedResidualArgs BindInvertedResidual(const Frame& frame, size_t step);
Conv3x3Args BindConv3x3(const Frame& frame, size_t step);
LinearArgs BindLinear(const Frame& frame, size_t step);
FfnArgs BindFfn(const Frame& frame, size_t step);
AttentionArgs BindAttention(const Frame& frame, size_t step);
LayerNormArgs BindLayerNorm(const Frame& frame, size_t step);
ResizeArgs BindResize(const Frame& frame, size_t step);
GlobalPoolArgs BindGlobalPool(const Frame& frame, size_t step);

// Work units of each kind of arguments, and the multiple at which threads divide them: a kernel's tile of
// rows or channels.
struct Work {
  int64_t units = 0;
  int64_t grain = 1;
};
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

// The part of the work that thread `index` of `count` does: contiguous, whole grains.
inline Range ShareOf(const Work& work, int64_t index, int64_t count) {
  const int64_t grains = (work.units + work.grain - 1) / work.grain;
  const int64_t begin = grains * index / count * work.grain, end = grains * (index + 1) / count * work.grain;
  return {begin, end < work.units ? end : work.units};
}

// Calls visit(kernel, args) with the step's kernel in `table` and its arguments.
template <class Visit>
void VisitStep(const KernelTable& table, const Frame& frame, size_t step, Visit&& visit) {
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
  }
}

}  // namespace mvf

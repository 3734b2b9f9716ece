#include "engine/cost.h"

namespace mvf {
namespace {

int64_t Pixels(const Map& map) { return map.height * map.width; }

// Float and 8-bit kernels of an operation differ in their numbers, not in their count.
template <class Args>
int64_t ConvolutionMacs(const Args& args) {
  return Pixels(args.output) * args.shape.out * 9 * (args.shape.in + args.shape.in_second);
}
int64_t Macs(const StemArgs& args) { return ConvolutionMacs(args); }
int64_t Macs(const Int8StemArgs& args) { return ConvolutionMacs(args); }
int64_t Macs(const Conv3x3Args& args) { return ConvolutionMacs(args); }
int64_t Macs(const Int8Conv3x3Args& args) { return ConvolutionMacs(args); }

template <class Args>
int64_t InvertedResidualMacs(const Args& args) {
  return Pixels(args.input) * args.shape.in * args.shape.expanded +
         Pixels(args.output) * args.shape.expanded * (9 + args.shape.out);
}
int64_t Macs(const InvertedResidualArgs& args) { return InvertedResidualMacs(args); }
int64_t Macs(const Int8InvertedResidualArgs& args) { return InvertedResidualMacs(args); }

int64_t Macs(const LinearArgs& args) { return args.rows * args.shape.in * args.shape.out; }
int64_t Macs(const Int8LinearArgs& args) { return args.rows * args.shape.in * args.shape.out; }

int64_t Macs(const FfnArgs& args) { return 2 * args.rows * args.shape.dim * args.shape.hidden; }
int64_t Macs(const Int8FfnArgs& args) { return 2 * args.rows * args.shape.dim * args.shape.hidden; }

// Each token meets all tokens of its position, once for the scores and once for the values.
template <class Args>
int64_t AttentionMacs(const Args& args) {
  const int64_t tokens = Pixels(args.output) / (args.patch_height * args.patch_width);
  return 2 * Pixels(args.output) * tokens * args.output.channels;
}
int64_t Macs(const AttentionArgs& args) { return AttentionMacs(args); }
int64_t Macs(const Int8AttentionArgs& args) { return AttentionMacs(args); }

int64_t Macs(const LayerNormArgs&) { return 0; }
int64_t Macs(const Int8LayerNormArgs&) { return 0; }
int64_t Macs(const ResizeArgs&) { return 0; }
int64_t Macs(const GlobalPoolArgs&) { return 0; }
int64_t Macs(const Int8GlobalPoolArgs&) { return 0; }
int64_t Macs(const QuantizeArgs&) { return 0; }

size_t ActivationBytes(const Frame& frame, const Step& step) {
  size_t bytes = frame.program->tensors[step.output].bytes;
  for (int read : ReadBy(step)) {
    if (read != -1) bytes += frame.program->tensors[read].bytes;
  }
  const Image& image = frame.image;
  if (IsStem(step.kind))
    bytes += static_cast<size_t>(image.channels * image.height * image.width) * sizeof(float);
  return bytes;
}

}  // namespace

Cost CostOf(const Frame& frame, size_t step) {
  if (frame.program->skipped[step]) return {};
  Cost cost;
  // No kernel runs, so any table serves to pick the arguments.
  static constexpr Int8Kernels kNoInt8 = {};
  KernelTable none = {};
  none.int8 = &kNoInt8;
  VisitStep(none, frame, step, [&](const auto&, const auto& args) { cost.macs = Macs(args); });
  cost.bytes = frame.weights->of(step).bytes + ActivationBytes(frame, frame.plan->steps[step]);
  return cost;
}

}  // namespace mvf

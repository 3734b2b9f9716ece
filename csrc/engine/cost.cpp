#include "engine/cost.h"

namespace mvf {
namespace {

int64_t Pixels(const Map& map) { return map.height * map.width; }

int64_t Macs(const StemArgs& args) { return Pixels(args.output) * args.shape.out * 9 * args.shape.in; }

int64_t Macs(const Conv3x3Args& args) {
  return Pixels(args.output) * args.shape.out * 9 * (args.shape.in + args.shape.in_second);
}

int64_t Macs(const InvertedResidualArgs& args) {
  const InvertedResidualShape& shape = args.shape;
  return Pixels(args.input) * shape.in * shape.expanded +
         Pixels(args.output) * shape.expanded * (9 + shape.out);
}

int64_t Macs(const LinearArgs& args) { return args.rows * args.shape.in * args.shape.out; }

int64_t Macs(const FfnArgs& args) { return 2 * args.rows * args.shape.dim * args.shape.hidden; }

// Each token meets all tokens of its position, once for the scores and once for the values.
int64_t Macs(const AttentionArgs& args) {
  const int64_t tokens = Pixels(args.output) / (args.patch_height * args.patch_width);
  return 2 * Pixels(args.output) * tokens * args.output.channels;
}

int64_t Macs(const LayerNormArgs&) { return 0; }
int64_t Macs(const ResizeArgs&) { return 0; }
int64_t Macs(const GlobalPoolArgs&) { return 0; }

size_t ActivationBytes(const Frame& frame, const Step& step) {
  const auto bytes = [&](int tensor) { return tensor == -1 ? 0 : frame.program->tensors[tensor].bytes; };
  switch (step.kind) {
    case StepKind::kStem: {
      const Image& image = frame.image;
      return static_cast<size_t>(image.channels * image.height * image.width) * sizeof(float) +
             bytes(step.output);
    }
    case StepKind::kConv3x3:
      return bytes(step.input) + bytes(step.second_input) + bytes(step.output);
    case StepKind::kLinear:
      return bytes(step.input) + bytes(step.residual) + bytes(step.output);
    default:
      return bytes(step.input) + bytes(step.output);
  }
}

}  // namespace

Cost CostOf(const Frame& frame, size_t step) {
  if (frame.program->skipped[step]) return {};
  Cost cost;
  // No kernel runs, so any table serves to pick the arguments.
  VisitStep(KernelTable{}, frame, step, [&](const auto&, const auto& args) { cost.macs = Macs(args); });
  cost.bytes = frame.weights->of(step).bytes + ActivationBytes(frame, frame.plan->steps[step]);
  return cost;
}

}  // namespace mvf

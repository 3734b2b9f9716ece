#include "engine/plan_check.h"

#include "engine/int8_plan_check.h"
#include "engine/step_checker.h"

namespace mvf {
namespace {

class Checker : private StepChecker {
 public:
  explicit Checker(const Plan& plan) : StepChecker(plan) {}

  PlanFacts Run() {
    CheckTensors();
    if (plan().steps.empty()) throw std::invalid_argument("the plan has no steps");
    for (size_t i = 0; i < plan().steps.size(); ++i) {
      Begin(i);
      CheckStep(plan().steps[i]);
    }
    CheckOutputs();
    return facts();
  }

 private:
  void CheckTensors() const {
    if (plan().image_channels < 1 || plan().image_channels > kMaxChannels) {
      throw std::invalid_argument("image_channels is " + std::to_string(plan().image_channels));
    }
    for (size_t i = 0; i < plan().tensors.size(); ++i) {
      const int64_t channels = plan().tensors[i].channels;
      if (channels < 1 || channels > kMaxChannels) {
        throw std::invalid_argument("tensor " + std::to_string(i) + " has " + std::to_string(channels) +
                                    " channels; expected 1 to " + std::to_string(kMaxChannels));
      }
    }
  }

  void CheckOutputs() const {
    if (plan().outputs.empty()) throw std::invalid_argument("the plan has no outputs");
    for (int output : plan().outputs) {
      if (output < 0 || static_cast<size_t>(output) >= plan().tensors.size() || !is_written(output)) {
        throw std::invalid_argument("output " + std::to_string(output) + " is no tensor that a step writes");
      }
      if (TypeOf(output) == TensorType::kBytes) {
        throw std::invalid_argument("output " + std::to_string(output) +
                                    " has type bytes; put a dequantize step behind it");
      }
    }
  }

  void CheckStep(const Step& step) {
    Require(IsStem(step.kind) == (step_index() == 0), "the first step, and no other, is the stem");
    switch (step.kind) {
      case StepKind::kStem:
        return CheckStem(step);
      case StepKind::kInvertedResidual:
        return CheckInvertedResidual(step);
      case StepKind::kConv3x3:
        return CheckConv3x3(step);
      case StepKind::kLinear:
        return CheckLinear(step);
      case StepKind::kFfn:
        return CheckFfn(step);
      case StepKind::kAttention:
        return CheckAttention(step);
      case StepKind::kLayerNorm:
        return CheckLayerNorm(step);
      case StepKind::kResizeToPatch:
        return CheckResizeToPatch(step);
      case StepKind::kResizeLike:
        return CheckResizeLike(step);
      case StepKind::kGlobalPool:
        return CheckGlobalPool(step);
      default:
        return CheckInt8Step(*this, step);
    }
  }

  void CheckStem(const Step& step) {
    const Conv3x3Shape& conv = step.conv;
    CheckStride(conv.stride);
    Require(conv.in == plan().image_channels, "the weight reads " + std::to_string(conv.in) +
                                                  " channels; the image has " +
                                                  std::to_string(plan().image_channels));
    Require(conv.in_second == 0, "the stem has one input");
    Require(conv.algorithm == ConvAlgorithm::kDirect, "the stem's algorithm must be direct");
    RequireWeights({step.conv_weights.weight});
    Write(step.output, false);
    RequireChannels("output", step.output, conv.out);
    RequireType("output", step.output, TensorType::kElement);
  }

  void CheckInvertedResidual(const Step& step) {
    const InvertedResidualShape& shape = step.inverted_residual;
    CheckStride(shape.stride);
    CheckMap("input", step.input);
    RequireChannels("input", step.input, shape.in);
    RequireType("input", step.input, TensorType::kElement);
    Require(shape.expanded >= 1 && shape.expanded <= kMaxChannels,
            "it expands to " + std::to_string(shape.expanded) + " channels");
    Require(!shape.residual || (shape.stride == 1 && shape.in == shape.out),
            "a residual needs stride 1 and as many output as input channels");
    const InvertedResidualWeights& weights = step.inverted_residual_weights;
    RequireWeights({weights.expand.weight, weights.depthwise.weight, weights.project.weight});
    Write(step.output, false);
    RequireChannels("output", step.output, shape.out);
    RequireType("output", step.output, TensorType::kElement);
  }

  void CheckConv3x3(const Step& step) {
    const Conv3x3Shape& conv = step.conv;
    CheckStride(conv.stride);
    Require(conv.algorithm == ConvAlgorithm::kDirect || conv.stride == 1, "Winograd needs stride 1");
    CheckMap("input", step.input);
    RequireChannels("input", step.input, conv.in);
    RequireType("input", step.input, TensorType::kElement);
    if (conv.in_second > 0) {
      CheckMap("second_input", step.second_input);
      RequireChannels("second_input", step.second_input, conv.in_second);
      RequireType("second_input", step.second_input, TensorType::kElement);
    } else {
      Require(conv.in_second == 0 && step.second_input == -1, "second_input needs weights of its channels");
    }
    RequireWeights({step.conv_weights.weight});
    Write(step.output, false);
    RequireChannels("output", step.output, conv.out);
    RequireType("output", step.output, TensorType::kElement);
  }

  void CheckLinear(const Step& step) {
    const LinearShape& linear = step.linear;
    CheckRead("input", step.input);
    RequireChannels("input", step.input, linear.in);
    if (linear.normalize) {
      RequireType("input", step.input, TensorType::kFloat);
    } else {
      RequireType("input", step.input, TensorType::kElement);
    }
    if (linear.normalize) CheckEpsilon(linear.epsilon);
    RequireWeights({step.linear_weights.weight});
    const bool in_place = step.residual != -1 && step.residual == step.output;
    if (step.residual != -1) {
      CheckRead("residual", step.residual);
      RequireChannels("residual", step.residual, linear.out);
      Require(is_vector(step.residual) == is_vector(step.input),
              "residual and input must both be maps or both be vectors");
      Require(step.residual != step.input || !in_place, "it cannot overwrite its own input");
    }
    if (!in_place) Write(step.output, is_vector(step.input));
    RequireChannels("output", step.output, linear.out);
    if (step.residual != -1) RequireType("residual", step.residual, TypeOf(step.output));
    RequireNoBytes("output", step.output);
  }

  void CheckFfn(const Step& step) const {
    CheckRead("input", step.input);
    Require(step.output == step.input, "ffn works in place: output must be its input");
    RequireChannels("input", step.input, step.ffn.dim);
    RequireType("input", step.input, TensorType::kFloat);
    CheckEpsilon(step.ffn.epsilon);
    Require(step.ffn.hidden >= 1 && step.ffn.hidden <= kMaxChannels,
            "its hidden width is " + std::to_string(step.ffn.hidden));
    RequireWeights({step.ffn_weights.up.weight, step.ffn_weights.down.weight});
  }

  void CheckAttention(const Step& step) {
    const int64_t dim = CheckQkv(step);
    RequireType("input", step.input, TensorType::kElement);
    Write(step.output, false);
    RequireChannels("output", step.output, dim);
    RequireType("output", step.output, TensorType::kElement);
  }

  void CheckLayerNorm(const Step& step) {
    CheckRead("input", step.input);
    RequireType("input", step.input, TensorType::kFloat);
    CheckEpsilon(step.epsilon);
    RequireWeights({step.gamma, step.beta});
    Write(step.output, is_vector(step.input));
    RequireChannels("output", step.output, ChannelsOf(step.input));
    RequireType("output", step.output, TensorType::kElement);
  }

  void CheckResize(const Step& step) {
    CheckMap("input", step.input);
    Write(step.output, false);
    RequireChannels("output", step.output, ChannelsOf(step.input));
    RequireType("output", step.output, TypeOf(step.input));
  }

  void CheckResizeToPatch(const Step& step) {
    CheckPatch(step);
    CheckResize(step);
  }

  void CheckResizeLike(const Step& step) {
    CheckMap("like", step.like);
    CheckResize(step);
  }

  void CheckGlobalPool(const Step& step) {
    CheckMap("input", step.input);
    RequireType("input", step.input, TensorType::kElement);
    Write(step.output, true);
    RequireChannels("output", step.output, ChannelsOf(step.input));
    RequireNoBytes("output", step.output);
  }
};

}  // namespace

const char* NameOf(StepKind kind) {
  switch (kind) {
    case StepKind::kStem:
      return "stem";
    case StepKind::kInvertedResidual:
      return "inverted_residual";
    case StepKind::kConv3x3:
      return "conv3x3";
    case StepKind::kLinear:
      return "linear";
    case StepKind::kFfn:
      return "ffn";
    case StepKind::kAttention:
      return "attention";
    case StepKind::kLayerNorm:
      return "layer_norm";
    case StepKind::kResizeToPatch:
      return "resize_to_patch";
    case StepKind::kResizeLike:
      return "resize_like";
    case StepKind::kGlobalPool:
      return "global_pool";
    case StepKind::kInt8Stem:
      return "int8_stem";
    case StepKind::kInt8InvertedResidual:
      return "int8_inverted_residual";
    case StepKind::kInt8Conv3x3:
      return "int8_conv3x3";
    case StepKind::kInt8Linear:
      return "int8_linear";
    case StepKind::kInt8Ffn:
      return "int8_ffn";
    case StepKind::kInt8Attention:
      return "int8_attention";
    case StepKind::kInt8LayerNorm:
      return "int8_layer_norm";
    case StepKind::kInt8GlobalPool:
      return "int8_global_pool";
    case StepKind::kQuantize:
      return "quantize";
    case StepKind::kDequantize:
      return "dequantize";
  }
  return "unknown";
}

const char* NameOf(TensorType type) {
  switch (type) {
    case TensorType::kElement:
      return "element";
    case TensorType::kFloat:
      return "float";
    case TensorType::kBytes:
      return "bytes";
  }
  return "unknown";
}

std::string Describe(const Plan& plan, size_t step) {
  const Step& described = plan.steps[step];
  return "step " + std::to_string(step) + " (" + NameOf(described.kind) + " '" + described.name + "')";
}

PlanFacts CheckPlan(const Plan& plan) { return Checker(plan).Run(); }

PlanFacts CheckPlan(const Plan& plan, const KernelTable& table) {
  PlanFacts facts = CheckPlan(plan);
  CheckInt8Kernels(plan, table);
  return facts;
}

}  // namespace mvf

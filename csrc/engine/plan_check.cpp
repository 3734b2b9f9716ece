#include "engine/plan_check.h"

#include <cmath>
#include <stdexcept>

namespace mvf {
namespace {

// Far above any network's, and small enough that products of two never overflow.
constexpr int64_t kMaxChannels = 1 << 20;
constexpr int64_t kMaxPatch = 1 << 10;

class Checker {
 public:
  explicit Checker(const Plan& plan)
      : plan_(plan),
        written_(plan.tensors.size(), false),
        facts_{std::vector<bool>(plan.tensors.size(), false)} {}

  PlanFacts Run() {
    CheckTensors();
    if (plan_.steps.empty()) throw std::invalid_argument("the plan has no steps");
    for (step_index_ = 0; step_index_ < plan_.steps.size(); ++step_index_)
      CheckStep(plan_.steps[step_index_]);
    CheckOutputs();
    return facts_;
  }

 private:
  [[noreturn]] void Fail(const std::string& problem) const {
    throw std::invalid_argument(Describe(plan_, step_index_) + ": " + problem);
  }
  void Require(bool condition, const std::string& problem) const {
    if (!condition) Fail(problem);
  }

  void CheckTensors() const {
    if (plan_.image_channels < 1 || plan_.image_channels > kMaxChannels) {
      throw std::invalid_argument("image_channels is " + std::to_string(plan_.image_channels));
    }
    for (size_t i = 0; i < plan_.tensors.size(); ++i) {
      const int64_t channels = plan_.tensors[i].channels;
      if (channels < 1 || channels > kMaxChannels) {
        throw std::invalid_argument("tensor " + std::to_string(i) + " has " + std::to_string(channels) +
                                    " channels; expected 1 to " + std::to_string(kMaxChannels));
      }
    }
  }

  void CheckOutputs() const {
    if (plan_.outputs.empty()) throw std::invalid_argument("the plan has no outputs");
    for (int output : plan_.outputs) {
      if (output < 0 || static_cast<size_t>(output) >= plan_.tensors.size() || !written_[output]) {
        throw std::invalid_argument("output " + std::to_string(output) + " is no tensor that a step writes");
      }
    }
  }

  const PlanTensor& Tensor(const char* role, int index) const {
    Require(index >= 0 && static_cast<size_t>(index) < plan_.tensors.size(),
            std::string(role) + " is tensor " + std::to_string(index) + ", and the plan has tensors 0 to " +
                std::to_string(static_cast<int64_t>(plan_.tensors.size()) - 1));
    return plan_.tensors[index];
  }

  void RequireChannels(const char* role, int index, int64_t channels) const {
    const int64_t has = plan_.tensors[index].channels;
    Require(has == channels, std::string(role) + " (tensor " + std::to_string(index) + ") has " +
                                 std::to_string(has) + " channels; expected " + std::to_string(channels));
  }

  void RequireFloat(const char* role, int index, bool is_float) const {
    Require(plan_.tensors[index].is_float == is_float, std::string(role) + " (tensor " +
                                                           std::to_string(index) + ") must have is_float " +
                                                           (is_float ? "true" : "false"));
  }

  void CheckRead(const char* role, int index) const {
    Tensor(role, index);
    Require(written_[index],
            std::string(role) + " (tensor " + std::to_string(index) + ") is read before any step writes it");
  }

  void CheckMap(const char* role, int index) const {
    CheckRead(role, index);
    Require(!facts_.is_vector[index],
            std::string(role) + " (tensor " + std::to_string(index) + ") is a vector; this step needs a map");
  }

  void Write(int index, bool is_vector) {
    Tensor("output", index);
    Require(!written_[index], "tensor " + std::to_string(index) + " is written a second time");
    written_[index] = true;
    facts_.is_vector[index] = is_vector;
  }

  void CheckStride(int64_t stride) const {
    Require(stride == 1 || stride == 2, "stride is " + std::to_string(stride) + "; expected 1 or 2");
  }

  void CheckEpsilon(float epsilon) const {
    Require(std::isfinite(epsilon) && epsilon >= 0, "epsilon must be finite and not negative");
  }

  void CheckPatch(const Step& step) const {
    const bool fits = step.patch_height >= 1 && step.patch_height <= kMaxPatch && step.patch_width >= 1 &&
                      step.patch_width <= kMaxPatch;
    Require(fits, "patch is " + std::to_string(step.patch_height) + "x" + std::to_string(step.patch_width) +
                      "; expected sides of 1 to " + std::to_string(kMaxPatch));
  }

  void RequireWeights(std::initializer_list<const float*> weights) const {
    for (const float* weight : weights) Require(weight != nullptr, "a weight is missing");
  }

  void CheckStep(const Step& step) {
    Require((step.kind == StepKind::kStem) == (step_index_ == 0),
            "the first step, and no other, is the stem");
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
    }
    Fail("unknown kind");
  }

  void CheckStem(const Step& step) {
    const Conv3x3Shape& conv = step.conv;
    CheckStride(conv.stride);
    Require(conv.in == plan_.image_channels, "the weight reads " + std::to_string(conv.in) +
                                                 " channels; the image has " +
                                                 std::to_string(plan_.image_channels));
    Require(conv.in_second == 0, "the stem has one input");
    Require(conv.algorithm == ConvAlgorithm::kDirect, "the stem's algorithm must be direct");
    RequireWeights({step.conv_weights.weight});
    Write(step.output, false);
    RequireChannels("output", step.output, conv.out);
    RequireFloat("output", step.output, false);
  }

  void CheckInvertedResidual(const Step& step) {
    const InvertedResidualShape& shape = step.inverted_residual;
    CheckStride(shape.stride);
    CheckMap("input", step.input);
    RequireChannels("input", step.input, shape.in);
    RequireFloat("input", step.input, false);
    Require(shape.expanded >= 1 && shape.expanded <= kMaxChannels,
            "it expands to " + std::to_string(shape.expanded) + " channels");
    Require(!shape.residual || (shape.stride == 1 && shape.in == shape.out),
            "a residual needs stride 1 and as many output as input channels");
    const InvertedResidualWeights& weights = step.inverted_residual_weights;
    RequireWeights({weights.expand.weight, weights.depthwise.weight, weights.project.weight});
    Write(step.output, false);
    RequireChannels("output", step.output, shape.out);
    RequireFloat("output", step.output, false);
  }

  void CheckConv3x3(const Step& step) {
    const Conv3x3Shape& conv = step.conv;
    CheckStride(conv.stride);
    Require(conv.algorithm == ConvAlgorithm::kDirect || conv.stride == 1, "Winograd needs stride 1");
    CheckMap("input", step.input);
    RequireChannels("input", step.input, conv.in);
    RequireFloat("input", step.input, false);
    if (conv.in_second > 0) {
      CheckMap("second_input", step.second_input);
      RequireChannels("second_input", step.second_input, conv.in_second);
      RequireFloat("second_input", step.second_input, false);
    } else {
      Require(conv.in_second == 0 && step.second_input == -1, "second_input needs weights of its channels");
    }
    RequireWeights({step.conv_weights.weight});
    Write(step.output, false);
    RequireChannels("output", step.output, conv.out);
    RequireFloat("output", step.output, false);
  }

  void CheckLinear(const Step& step) {
    const LinearShape& linear = step.linear;
    CheckRead("input", step.input);
    RequireChannels("input", step.input, linear.in);
    RequireFloat("input", step.input, linear.normalize);
    if (linear.normalize) CheckEpsilon(linear.epsilon);
    RequireWeights({step.linear_weights.weight});
    const bool in_place = step.residual != -1 && step.residual == step.output;
    if (step.residual != -1) {
      CheckRead("residual", step.residual);
      RequireChannels("residual", step.residual, linear.out);
      Require(facts_.is_vector[step.residual] == facts_.is_vector[step.input],
              "residual and input must both be maps or both be vectors");
      Require(step.residual != step.input || !in_place, "it cannot overwrite its own input");
    }
    if (!in_place) Write(step.output, facts_.is_vector[step.input]);
    RequireChannels("output", step.output, linear.out);
    if (step.residual != -1) RequireFloat("residual", step.residual, plan_.tensors[step.output].is_float);
  }

  void CheckFfn(const Step& step) const {
    CheckRead("input", step.input);
    Require(step.output == step.input, "ffn works in place: output must be its input");
    RequireChannels("input", step.input, step.ffn.dim);
    RequireFloat("input", step.input, true);
    CheckEpsilon(step.ffn.epsilon);
    Require(step.ffn.hidden >= 1 && step.ffn.hidden <= kMaxChannels,
            "its hidden width is " + std::to_string(step.ffn.hidden));
    RequireWeights({step.ffn_weights.up.weight, step.ffn_weights.down.weight});
  }

  void CheckAttention(const Step& step) {
    CheckMap("input", step.input);
    CheckPatch(step);
    const int64_t channels = plan_.tensors[step.input].channels;
    Require(channels % 3 == 0,
            "input has " + std::to_string(channels) + " channels; expected q, k and v of equal width");
    const int64_t dim = channels / 3;
    Require(step.heads >= 1 && dim % step.heads == 0,
            std::to_string(step.heads) + " heads do not divide " + std::to_string(dim) + " channels");
    RequireFloat("input", step.input, false);
    Write(step.output, false);
    RequireChannels("output", step.output, dim);
    RequireFloat("output", step.output, false);
  }

  void CheckLayerNorm(const Step& step) {
    CheckRead("input", step.input);
    RequireFloat("input", step.input, true);
    CheckEpsilon(step.epsilon);
    RequireWeights({step.gamma, step.beta});
    Write(step.output, facts_.is_vector[step.input]);
    RequireChannels("output", step.output, plan_.tensors[step.input].channels);
    RequireFloat("output", step.output, false);
  }

  void CheckResize(const Step& step) {
    CheckMap("input", step.input);
    Write(step.output, false);
    RequireChannels("output", step.output, plan_.tensors[step.input].channels);
    RequireFloat("output", step.output, plan_.tensors[step.input].is_float);
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
    RequireFloat("input", step.input, false);
    Write(step.output, true);
    RequireChannels("output", step.output, plan_.tensors[step.input].channels);
  }

  const Plan& plan_;
  size_t step_index_ = 0;
  std::vector<bool> written_;
  PlanFacts facts_;
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
  }
  return "unknown";
}

std::string Describe(const Plan& plan, size_t step) {
  const Step& described = plan.steps[step];
  return "step " + std::to_string(step) + " (" + NameOf(described.kind) + " '" + described.name + "')";
}

PlanFacts CheckPlan(const Plan& plan) { return Checker(plan).Run(); }

}  // namespace mvf

#include "sample_plan.h"

#include <stdexcept>

namespace mvf_test {
namespace {

using namespace mvf;

class PlanMaker {
 public:
  explicit PlanMaker(SamplePlan& sample) : plan_(sample.plan), weights_(sample.weights) {}

  void Make() {
    const int stem = Stem(8);
    const int first = InvertedResidual(stem, 8, 16, 8, 1, true);
    const int map = InvertedResidual(first, 8, 24, 10, 2, false);
    const int local = Conv3x3(map, -1, 10, 0, 10);
    const int embedded = Linear("embed", local, 10, 12, TensorType::kFloat);
    const int stream = Resize(StepKind::kResizeToPatch, "to patch", embedded, -1);
    Step& qkv = NewStep(StepKind::kLinear, "qkv", stream, NewTensor(36));
    qkv.linear.in = 12;
    qkv.linear.out = 36;
    qkv.linear.normalize = true;
    qkv.linear_weights = weights_.Linear(36, 12);
    const int mixed = Attention(qkv.output);
    const int added = Add(mixed, stream);
    Ffn(added);
    const int norm = LayerNorm(added);
    const int resized = Resize(StepKind::kResizeLike, "like", norm, map);
    const int projected = Linear("project", resized, 12, 10);
    const int fused = Conv3x3(map, projected, 10, 10, 14);
    const int pooled = NewTensor(14);
    NewStep(StepKind::kGlobalPool, "pool", fused, pooled);
    plan_.outputs = {fused, Linear("classifier", pooled, 14, 5, TensorType::kFloat)};
  }

 private:
  int NewTensor(int64_t channels, TensorType type = TensorType::kElement) {
    plan_.tensors.push_back({channels, type});
    return static_cast<int>(plan_.tensors.size()) - 1;
  }

  Step& NewStep(StepKind kind, const char* name, int input, int output) {
    Step& step = plan_.steps.emplace_back();
    step.kind = kind;
    step.name = name;
    step.input = input;
    step.output = output;
    return step;
  }

  int Stem(int64_t out) {
    Step& step = NewStep(StepKind::kStem, "stem", -1, NewTensor(out));
    step.conv.in = 3;
    step.conv.out = out;
    step.conv.stride = 2;
    step.conv.activation = Activation::kSilu;
    step.conv_weights = {weights_.Make(out * 27), weights_.Make(out)};
    return step.output;
  }

  int InvertedResidual(int input, int64_t in, int64_t expanded, int64_t out, int64_t stride, bool residual) {
    Step& step = NewStep(StepKind::kInvertedResidual, "residual", input, NewTensor(out));
    step.inverted_residual = {in, expanded, out, stride, residual};
    step.inverted_residual_weights = {weights_.Linear(expanded, in),
                                      {weights_.Make(9 * expanded), weights_.Make(expanded)},
                                      weights_.Linear(out, expanded)};
    return step.output;
  }

  int Conv3x3(int input, int second, int64_t in, int64_t in_second, int64_t out) {
    Step& step = NewStep(StepKind::kConv3x3, second == -1 ? "local" : "fuse", input, NewTensor(out));
    step.second_input = second;
    step.conv.in = in;
    step.conv.in_second = in_second;
    step.conv.out = out;
    step.conv.activation = Activation::kSilu;
    step.conv_weights = {weights_.Make(out * 9 * (in + in_second)), weights_.Make(out)};
    return step.output;
  }

  int Linear(const char* name, int input, int64_t in, int64_t out, TensorType type = TensorType::kElement) {
    Step& step = NewStep(StepKind::kLinear, name, input, NewTensor(out, type));
    step.linear.in = in;
    step.linear.out = out;
    step.linear_weights = weights_.Linear(out, in);
    return step.output;
  }

  int Resize(StepKind kind, const char* name, int input, int like) {
    const PlanTensor source = plan_.tensors[static_cast<size_t>(input)];
    Step& step = NewStep(kind, name, input, NewTensor(source.channels, source.type));
    step.like = like;
    return step.output;
  }

  int Attention(int qkv) {
    Step& step = NewStep(StepKind::kAttention, "attention", qkv, NewTensor(12));
    step.heads = 3;
    return step.output;
  }

  // Into a tensor of its own: the arena has to see that the residual ends here.
  int Add(int input, int residual) {
    const int sum = Linear("projection", input, 12, 12, TensorType::kFloat);
    plan_.steps.back().residual = residual;
    return sum;
  }

  void Ffn(int stream) {
    Step& step = NewStep(StepKind::kFfn, "ffn", stream, stream);
    step.ffn.dim = 12;
    step.ffn.hidden = 20;
    step.ffn_weights = {weights_.Linear(20, 12), weights_.Linear(12, 20)};
  }

  int LayerNorm(int input) {
    Step& step = NewStep(StepKind::kLayerNorm, "norm", input, NewTensor(12));
    step.gamma = weights_.Make(12);
    step.beta = weights_.Make(12);
    return step.output;
  }

  Plan& plan_;
  RandomFloats& weights_;
};

}  // namespace

Step& SamplePlan::step(const std::string& name) {
  for (Step& step : plan.steps) {
    if (step.name == name) return step;
  }
  throw std::invalid_argument("the sample plan has no step '" + name + "'");
}

SamplePlan MakeSamplePlan() {
  SamplePlan sample;
  PlanMaker(sample).Make();
  return sample;
}

}  // namespace mvf_test

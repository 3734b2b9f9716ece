#include "int8_sample_plan.h"

#include <cmath>
#include <stdexcept>

namespace mvf_test {

using namespace mvf;

Int8Weights Int8Arrays::Weights(int64_t out, int64_t in) {
  const mvf_test::Weights& weight = weights_.emplace_back(random_.MakeWeights(out * in, Draw::kRandom));
  return {weight.data(), biases_.emplace_back(random_.MakeInts(out, -3000, 3000)).data()};
}

Requantization Int8Arrays::ToBytes(int64_t out, int64_t in, bool with_table) {
  return requantizations_.emplace_back(random_, out, in, with_table).Get();
}

Requantization Int8Arrays::ToFloats(int64_t out, int64_t in) {
  const float typical = 1.0f / (5000.0f * std::sqrt(static_cast<float>(in)));
  return {Floats(out, 0.5f * typical, 2 * typical), Floats(out, -1.0f, 1.0f), nullptr};
}

const float* Int8Arrays::Floats(int64_t count, float low, float high) {
  return floats_.emplace_back(random_.MakeFloats(count, low, high)).data();
}

namespace {

class PlanMaker {
 public:
  PlanMaker(Int8SamplePlan& sample, const Int8Widths& widths)
      : plan_(sample.plan), arrays_(sample.arrays), w_(widths) {}

  void Make() {
    const int stem = Stem();
    const int first = InvertedResidual(stem, w_.stem, w_.stem, 1);
    const int map = InvertedResidual(first, w_.stem, w_.block, 2);
    const int local = Conv3x3("local", map, -1);
    const int embedded = Linear("embed", local, w_.block, w_.dim, TensorType::kFloat);
    const int stream = Resize(StepKind::kResizeToPatch, "to patch", embedded, -1);
    const int qkv = Linear("qkv", stream, w_.dim, 3 * w_.dim, TensorType::kBytes);
    const int added = Linear("projection", Attention(qkv), w_.dim, w_.dim, TensorType::kFloat);
    plan_.steps.back().residual = stream;
    Ffn(added);
    const int resized = Resize(StepKind::kResizeLike, "like", LayerNorm(added), map);
    const int projected = Linear("project", resized, w_.dim, w_.block, TensorType::kBytes);
    const int fused = Conv3x3("fuse", map, projected);
    const int head = Linear("head", fused, w_.block, w_.head, TensorType::kBytes);
    const int pooled = NewTensor(w_.head, TensorType::kElement);
    Grid(NewStep(StepKind::kInt8GlobalPool, "pool", head, pooled));
    const int logits = Linear("classifier", pooled, w_.head, w_.classes, TensorType::kElement);
    const int real = NewTensor(w_.block, TensorType::kElement);
    Grid(NewStep(StepKind::kDequantize, "real", fused, real));
    const int bytes = NewTensor(w_.block, TensorType::kBytes);
    Grid(NewStep(StepKind::kQuantize, "bytes", real, bytes));
    const int again = NewTensor(w_.block, TensorType::kElement);
    Grid(NewStep(StepKind::kDequantize, "real again", bytes, again));
    plan_.outputs = {again, logits};
  }

 private:
  int NewTensor(int64_t channels, TensorType type) {
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

  static void Grid(Step& step) {
    step.scale = 0.0213f;
    step.zero = 101;
  }

  int Stem() {
    Step& step = NewStep(StepKind::kInt8Stem, "stem", -1, NewTensor(w_.stem, TensorType::kBytes));
    step.int8_conv.in = 3;
    step.int8_conv.out = w_.stem;
    step.int8_conv.stride = 2;
    step.int8_conv.input_scale = 1.0f / 128;
    step.int8_conv.input_zero = 127;
    step.int8_conv_weights = {arrays_.Weights(w_.stem, 27), arrays_.ToBytes(w_.stem, 27, true)};
    return step.output;
  }

  int InvertedResidual(int input, int64_t in, int64_t out, int64_t stride) {
    const bool adds = stride == 1;
    Step& step = NewStep(StepKind::kInt8InvertedResidual, adds ? "residual" : "smaller", input,
                         NewTensor(out, TensorType::kBytes));
    step.int8_inverted_residual = {in, w_.expanded, out, stride, adds, 131, 17, 23, adds ? 0.41f : 0.0f};
    step.int8_inverted_residual_weights = {
        arrays_.Weights(w_.expanded, in),  arrays_.ToBytes(w_.expanded, in, true),
        arrays_.Weights(w_.expanded, 9),   arrays_.ToBytes(w_.expanded, 9, true),
        arrays_.Weights(out, w_.expanded), arrays_.ToBytes(out, w_.expanded, false)};
    return step.output;
  }

  int Conv3x3(const char* name, int input, int second) {
    Step& step = NewStep(StepKind::kInt8Conv3x3, name, input, NewTensor(w_.block, TensorType::kBytes));
    step.second_input = second;
    step.int8_conv.in = step.int8_conv.out = w_.block;
    step.int8_conv.in_second = second == -1 ? 0 : w_.block;
    step.int8_conv.input_zero = 120;
    step.int8_conv.second_zero = 140;
    const int64_t depth = 9 * (step.int8_conv.in + step.int8_conv.in_second);
    step.int8_conv_weights = {arrays_.Weights(w_.block, depth), arrays_.ToBytes(w_.block, depth, true)};
    return step.output;
  }

  int Linear(const char* name, int input, int64_t in, int64_t out, TensorType type) {
    Step& step = NewStep(StepKind::kInt8Linear, name, input, NewTensor(out, type));
    Int8LinearShape& linear = step.int8_linear;
    linear.in = in;
    linear.out = out;
    linear.float_output = type != TensorType::kBytes;
    linear.input_zero = 113;
    const TensorType given = plan_.tensors[static_cast<size_t>(input)].type;
    if (given != TensorType::kBytes) {
      linear.input = Int8Input::kStatic;
      linear.input_scale = 0.0237f;
      linear.normalize = given == TensorType::kFloat;
    }
    step.int8_linear_weights = {
        arrays_.Weights(out, in),
        linear.float_output ? arrays_.ToFloats(out, in) : arrays_.ToBytes(out, in, out % 3 != 0),
        Activation::kNone};
    return step.output;
  }

  int Resize(StepKind kind, const char* name, int input, int like) {
    const PlanTensor source = plan_.tensors[static_cast<size_t>(input)];
    Step& step = NewStep(kind, name, input, NewTensor(source.channels, source.type));
    step.like = like;
    return step.output;
  }

  int Attention(int qkv) {
    Step& step = NewStep(StepKind::kInt8Attention, "attention", qkv, NewTensor(w_.dim, TensorType::kBytes));
    step.heads = w_.heads;
    step.score_scale = 6e-5f;
    step.output_multiplier = 2.0f;
    step.zero = 125;
    return step.output;
  }

  void Ffn(int stream) {
    Step& step = NewStep(StepKind::kInt8Ffn, "ffn", stream, stream);
    step.int8_ffn = {w_.dim, w_.hidden, 0.0241f, 119, 11, 1e-5f};
    step.int8_ffn_weights = {arrays_.Weights(w_.hidden, w_.dim), arrays_.ToBytes(w_.hidden, w_.dim, true),
                             arrays_.Weights(w_.dim, w_.hidden), arrays_.Floats(w_.dim, 1e-5f, 3e-5f)};
  }

  int LayerNorm(int input) {
    Step& step = NewStep(StepKind::kInt8LayerNorm, "norm", input, NewTensor(w_.dim, TensorType::kBytes));
    step.gamma = arrays_.Floats(w_.dim, -1.5f, 1.5f);
    step.beta = arrays_.Floats(w_.dim, -0.5f, 0.5f);
    Grid(step);
    return step.output;
  }

  Plan& plan_;
  Int8Arrays& arrays_;
  const Int8Widths w_;
};

}  // namespace

Step& Int8SamplePlan::step(const std::string& name) {
  for (Step& step : plan.steps) {
    if (step.name == name) return step;
  }
  throw std::invalid_argument("the sample plan has no step '" + name + "'");
}

Int8SamplePlan MakeInt8SamplePlan(const Int8Widths& widths) {
  Int8SamplePlan sample;
  PlanMaker(sample, widths).Make();
  return sample;
}

}  // namespace mvf_test

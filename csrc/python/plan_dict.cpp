#include "python/plan_dict.h"

#include <climits>
#include <stdexcept>

#include "engine/plan_check.h"
#include "python/dict_reader.h"
#include "python/int8_plan_dict.h"

namespace mvf {
namespace {

constexpr StepKind kKinds[] = {StepKind::kStem,          StepKind::kInvertedResidual,
                               StepKind::kConv3x3,       StepKind::kLinear,
                               StepKind::kFfn,           StepKind::kAttention,
                               StepKind::kLayerNorm,     StepKind::kResizeToPatch,
                               StepKind::kResizeLike,    StepKind::kGlobalPool,
                               StepKind::kInt8Stem,      StepKind::kInt8InvertedResidual,
                               StepKind::kInt8Conv3x3,   StepKind::kInt8Linear,
                               StepKind::kInt8Ffn,       StepKind::kInt8Attention,
                               StepKind::kInt8LayerNorm, StepKind::kInt8GlobalPool,
                               StepKind::kQuantize,      StepKind::kDequantize};

StepKind ReadKind(const std::string& name, const std::string& where) {
  std::string known;
  for (StepKind kind : kKinds) {
    if (name == NameOf(kind)) return kind;
    known += (known.empty() ? "" : ", ") + std::string(NameOf(kind));
  }
  throw std::invalid_argument(where + "['kind'] is '" + name + "'; expected one of " + known);
}

TensorType ReadTensorType(DictReader& reader) {
  const py::object value = reader.Optional("type");
  if (value.is_none()) return TensorType::kElement;
  const std::string name = ReadString(value, reader.NameOf("type"));
  for (TensorType type : {TensorType::kElement, TensorType::kFloat, TensorType::kBytes}) {
    if (name == NameOf(type)) return type;
  }
  throw std::invalid_argument(reader.NameOf("type") + " is '" + name + "'; expected element, float or bytes");
}

class PlanReader {
 public:
  PlanWithArrays Read(py::handle dict) {
    DictReader reader(dict, "plan");
    plan().image_channels = reader.Int("image_channels", 1, INT_MAX, plan().image_channels);
    ReadTensors(reader.List("tensors"));
    ReadSteps(reader.List("steps"));
    const py::list outputs = reader.List("outputs");
    for (size_t i = 0; i < outputs.size(); ++i) {
      plan().outputs.push_back(ReadIndex(outputs[i], "plan['outputs'][" + std::to_string(i) + "]"));
    }
    reader.Finish();
    return std::move(result_);
  }

 private:
  Plan& plan() { return result_.plan; }

  static int ReadIndex(py::handle value, const std::string& name) {
    return static_cast<int>(ReadInt(value, name, 0, INT_MAX));
  }

  void ReadTensors(const py::list& tensors) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      DictReader reader(tensors[i], "plan['tensors'][" + std::to_string(i) + "]");
      plan().tensors.push_back({reader.Int("channels", 1, INT_MAX), ReadTensorType(reader)});
      reader.Finish();
    }
  }

  void ReadSteps(const py::list& steps) {
    for (size_t i = 0; i < steps.size(); ++i) {
      const std::string where = "plan['steps'][" + std::to_string(i) + "]";
      DictReader reader(steps[i], where);
      Step step;
      step.kind = ReadKind(ReadString(reader.Required("kind"), reader.NameOf("kind")), where);
      step.name = ReadString(reader.Required("name"), reader.NameOf("name"));
      reader.set_where(where + " (" + mvf::NameOf(step.kind) + " '" + step.name + "')");
      ReadFields(reader, step);
      reader.Finish();
      plan().steps.push_back(std::move(step));
    }
  }

  static int Tensor(DictReader& reader, const char* key) {
    return ReadIndex(reader.Required(key), reader.NameOf(key));
  }

  // Keeps the array alive for as long as the plan points into it.
  const float* Keep(py::array_t<float> array) {
    result_.arrays.push_back(array);
    return array.data();
  }

  // A {weight, bias} dict.
  template <class Weights>
  Weights ReadWeights(DictReader& parent, const char* key, const Shape& shape, int64_t outputs) {
    DictReader reader = parent.Dict(key);
    Weights weights;
    weights.weight = Keep(reader.Weight("weight", shape));
    if (!reader.Optional("bias").is_none()) weights.bias = Keep(reader.Weight("bias", {outputs}));
    reader.Finish();
    return weights;
  }

  LinearWeights ReadLinearWeights(DictReader& parent, const char* key, int64_t out, int64_t in) {
    return ReadWeights<LinearWeights>(parent, key, {out, in}, out);
  }

  void ReadFields(DictReader& reader, Step& step) {
    if (!IsStem(step.kind)) step.input = Tensor(reader, "input");
    step.output = Tensor(reader, "output");
    switch (step.kind) {
      case StepKind::kStem:
        return ReadConv(reader, step);
      case StepKind::kInvertedResidual:
        return ReadInvertedResidual(reader, step);
      case StepKind::kConv3x3:
        step.second_input = ReadOptionalTensor(reader, "second_input");
        return ReadConv(reader, step);
      case StepKind::kLinear:
        step.residual = ReadOptionalTensor(reader, "residual");
        return ReadLinear(reader, step);
      case StepKind::kFfn:
        return ReadFfn(reader, step);
      case StepKind::kAttention:
        step.heads = reader.Int("heads", 1, INT_MAX);
        return ReadPatch(reader, step);
      case StepKind::kLayerNorm:
        return ReadLayerNorm(reader, step);
      case StepKind::kResizeToPatch:
        return ReadPatch(reader, step);
      case StepKind::kResizeLike:
        step.like = Tensor(reader, "like");
        return;
      case StepKind::kGlobalPool:
        return;
      case StepKind::kInt8LayerNorm:
        ReadLayerNorm(reader, step);
        return ReadGrid(reader, step);
      default:
        return ReadInt8Fields(reader, step, result_.arrays);
    }
  }

  void ReadConv(DictReader& parent, Step& step) {
    Conv3x3Shape& conv = step.conv;
    DictReader reader = parent.Dict("conv");
    conv.in = reader.Int("in", 1, INT_MAX);
    conv.in_second = reader.Int("in_second", 0, INT_MAX, 0);
    conv.out = reader.Int("out", 1, INT_MAX);
    conv.stride = reader.Int("stride", 1, 2, conv.stride);
    conv.activation = ReadActivation(reader);
    const py::object algorithm = reader.Optional("algorithm");
    if (!algorithm.is_none()) conv.algorithm = ReadAlgorithm(algorithm, reader.NameOf("algorithm"));
    reader.Finish();
    step.conv_weights = ReadWeights<Conv3x3Weights>(parent, "conv_weights",
                                                    {conv.out, 3, 3, conv.in + conv.in_second}, conv.out);
  }

  void ReadInvertedResidual(DictReader& parent, Step& step) {
    InvertedResidualShape& shape = step.inverted_residual;
    DictReader reader = parent.Dict("inverted_residual");
    shape.in = reader.Int("in", 1, INT_MAX);
    shape.expanded = reader.Int("expanded", 1, INT_MAX);
    shape.out = reader.Int("out", 1, INT_MAX);
    shape.stride = reader.Int("stride", 1, 2);
    shape.residual = reader.Bool("residual", false);
    reader.Finish();

    InvertedResidualWeights& weights = step.inverted_residual_weights;
    DictReader weight_reader = parent.Dict("inverted_residual_weights");
    weights.expand = ReadLinearWeights(weight_reader, "expand", shape.expanded, shape.in);
    weights.depthwise =
        ReadWeights<DwConv3x3Weights>(weight_reader, "depthwise", {3, 3, shape.expanded}, shape.expanded);
    weights.project = ReadLinearWeights(weight_reader, "project", shape.out, shape.expanded);
    weight_reader.Finish();
  }

  void ReadLinear(DictReader& parent, Step& step) {
    LinearShape& linear = step.linear;
    DictReader reader = parent.Dict("linear");
    linear.in = reader.Int("in", 1, INT_MAX);
    linear.out = reader.Int("out", 1, INT_MAX);
    linear.activation = ReadActivation(reader);
    linear.normalize = reader.Bool("normalize", false);
    linear.epsilon = reader.Float("epsilon", linear.epsilon);
    reader.Finish();
    step.linear_weights = ReadLinearWeights(parent, "linear_weights", linear.out, linear.in);
  }

  void ReadFfn(DictReader& parent, Step& step) {
    DictReader reader = parent.Dict("ffn");
    step.ffn.dim = reader.Int("dim", 1, INT_MAX);
    step.ffn.hidden = reader.Int("hidden", 1, INT_MAX);
    step.ffn.epsilon = reader.Float("epsilon", step.ffn.epsilon);
    reader.Finish();
    DictReader weight_reader = parent.Dict("ffn_weights");
    step.ffn_weights.up = ReadLinearWeights(weight_reader, "up", step.ffn.hidden, step.ffn.dim);
    step.ffn_weights.down = ReadLinearWeights(weight_reader, "down", step.ffn.dim, step.ffn.hidden);
    weight_reader.Finish();
  }

  void ReadLayerNorm(DictReader& reader, Step& step) {
    const auto index = static_cast<size_t>(step.input);
    if (index >= plan().tensors.size()) {
      throw std::invalid_argument(reader.NameOf("input") + " is tensor " + std::to_string(index) +
                                  ", which the plan does not have");
    }
    const int64_t channels = plan().tensors[index].channels;
    step.gamma = Keep(reader.Weight("gamma", {channels}));
    step.beta = Keep(reader.Weight("beta", {channels}));
    step.epsilon = reader.Float("epsilon", step.epsilon);
  }

  PlanWithArrays result_;
};

}  // namespace

Activation ReadActivation(DictReader& reader) {
  const std::string name = reader.NameOf("activation");
  const py::object value = reader.Optional("activation");
  const std::string activation = value.is_none() ? "none" : ReadString(value, name);
  if (activation == "none") return Activation::kNone;
  if (activation == "silu") return Activation::kSilu;
  throw std::invalid_argument(name + " is '" + activation + "'; expected none or silu");
}

int ReadOptionalTensor(DictReader& reader, const char* key) {
  return static_cast<int>(reader.Int(key, -1, INT_MAX, -1));
}

void ReadPatch(DictReader& reader, Step& step) {
  step.patch_height = reader.Int("patch_height", 1, INT_MAX, step.patch_height);
  step.patch_width = reader.Int("patch_width", 1, INT_MAX, step.patch_width);
}

PlanWithArrays ReadPlan(py::handle plan) { return PlanReader().Read(plan); }

ConvAlgorithm ReadAlgorithm(py::handle value, const std::string& name) {
  const std::string algorithm = ReadString(value, name);
  if (algorithm == "direct") return ConvAlgorithm::kDirect;
  if (algorithm == "winograd2") return ConvAlgorithm::kWinograd2;
  if (algorithm == "winograd4") return ConvAlgorithm::kWinograd4;
  throw std::invalid_argument(name + " is '" + algorithm + "'; expected direct, winograd2 or winograd4");
}

}  // namespace mvf

#include "engine/plan_reader.h"

#include <climits>
#include <stdexcept>

#include "engine/data_map.h"
#include "engine/int8_plan_reader.h"
#include "engine/plan_check.h"

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

TensorType ReadTensorType(DataMap& reader) {
  const std::unique_ptr<DataValue> value = reader.Optional("type");
  if (!value) return TensorType::kElement;
  const std::string name = value->String(reader.NameOf("type"));
  for (TensorType type : {TensorType::kElement, TensorType::kFloat, TensorType::kBytes}) {
    if (name == NameOf(type)) return type;
  }
  throw std::invalid_argument(reader.NameOf("type") + " is '" + name + "'; expected element, float or bytes");
}

using Values = std::vector<std::unique_ptr<DataValue>>;

class PlanReader {
 public:
  Plan Read(std::unique_ptr<DataValue> plan) {
    DataMap reader(std::move(plan), "plan");
    plan_.image_channels = reader.Int("image_channels", 1, INT_MAX, plan_.image_channels);
    ReadTensors(reader.List("tensors"));
    ReadSteps(reader.List("steps"));
    const Values outputs = reader.List("outputs");
    for (size_t i = 0; i < outputs.size(); ++i) {
      plan_.outputs.push_back(ReadIndex(*outputs[i], "plan['outputs'][" + std::to_string(i) + "]"));
    }
    reader.Finish();
    return std::move(plan_);
  }

 private:
  static int ReadIndex(const DataValue& value, const std::string& name) {
    return static_cast<int>(value.Int(name, 0, INT_MAX));
  }

  void ReadTensors(Values tensors) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      DataMap reader(std::move(tensors[i]), "plan['tensors'][" + std::to_string(i) + "]");
      plan_.tensors.push_back({reader.Int("channels", 1, INT_MAX), ReadTensorType(reader)});
      reader.Finish();
    }
  }

  void ReadSteps(Values steps) {
    for (size_t i = 0; i < steps.size(); ++i) {
      const std::string where = "plan['steps'][" + std::to_string(i) + "]";
      DataMap reader(std::move(steps[i]), where);
      Step step;
      step.kind = ReadKind(reader.String("kind"), where);
      step.name = reader.String("name");
      reader.set_where(where + " (" + mvf::NameOf(step.kind) + " '" + step.name + "')");
      ReadFields(reader, step);
      reader.Finish();
      plan_.steps.push_back(std::move(step));
    }
  }

  static int Tensor(DataMap& reader, const char* key) {
    return ReadIndex(*reader.Required(key), reader.NameOf(key));
  }

  // A {weight, bias} map.
  template <class Weights>
  Weights ReadWeights(DataMap& parent, const char* key, const Shape& shape, int64_t outputs) {
    DataMap reader = parent.Map(key);
    Weights weights;
    weights.weight = reader.Array("weight", shape);
    if (reader.Optional("bias")) weights.bias = reader.Array("bias", {outputs});
    reader.Finish();
    return weights;
  }

  LinearWeights ReadLinearWeights(DataMap& parent, const char* key, int64_t out, int64_t in) {
    return ReadWeights<LinearWeights>(parent, key, {out, in}, out);
  }

  void ReadFields(DataMap& reader, Step& step) {
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
        return ReadInt8Fields(reader, step);
    }
  }

  void ReadConv(DataMap& parent, Step& step) {
    Conv3x3Shape& conv = step.conv;
    DataMap reader = parent.Map("conv");
    conv.in = reader.Int("in", 1, INT_MAX);
    conv.in_second = reader.Int("in_second", 0, INT_MAX, 0);
    conv.out = reader.Int("out", 1, INT_MAX);
    conv.stride = reader.Int("stride", 1, 2, conv.stride);
    conv.activation = ReadActivation(reader);
    if (reader.Optional("algorithm")) {
      conv.algorithm = AlgorithmCalled(reader.String("algorithm"), reader.NameOf("algorithm"));
    }
    reader.Finish();
    step.conv_weights = ReadWeights<Conv3x3Weights>(parent, "conv_weights",
                                                    {conv.out, 3, 3, conv.in + conv.in_second}, conv.out);
  }

  void ReadInvertedResidual(DataMap& parent, Step& step) {
    InvertedResidualShape& shape = step.inverted_residual;
    DataMap reader = parent.Map("inverted_residual");
    shape.in = reader.Int("in", 1, INT_MAX);
    shape.expanded = reader.Int("expanded", 1, INT_MAX);
    shape.out = reader.Int("out", 1, INT_MAX);
    shape.stride = reader.Int("stride", 1, 2);
    shape.residual = reader.Bool("residual", false);
    reader.Finish();

    InvertedResidualWeights& weights = step.inverted_residual_weights;
    DataMap weight_reader = parent.Map("inverted_residual_weights");
    weights.expand = ReadLinearWeights(weight_reader, "expand", shape.expanded, shape.in);
    weights.depthwise =
        ReadWeights<DwConv3x3Weights>(weight_reader, "depthwise", {3, 3, shape.expanded}, shape.expanded);
    weights.project = ReadLinearWeights(weight_reader, "project", shape.out, shape.expanded);
    weight_reader.Finish();
  }

  void ReadLinear(DataMap& parent, Step& step) {
    LinearShape& linear = step.linear;
    DataMap reader = parent.Map("linear");
    linear.in = reader.Int("in", 1, INT_MAX);
    linear.out = reader.Int("out", 1, INT_MAX);
    linear.activation = ReadActivation(reader);
    linear.normalize = reader.Bool("normalize", false);
    linear.epsilon = reader.Float("epsilon", linear.epsilon);
    reader.Finish();
    step.linear_weights = ReadLinearWeights(parent, "linear_weights", linear.out, linear.in);
  }

  void ReadFfn(DataMap& parent, Step& step) {
    DataMap reader = parent.Map("ffn");
    step.ffn.dim = reader.Int("dim", 1, INT_MAX);
    step.ffn.hidden = reader.Int("hidden", 1, INT_MAX);
    step.ffn.epsilon = reader.Float("epsilon", step.ffn.epsilon);
    reader.Finish();
    DataMap weight_reader = parent.Map("ffn_weights");
    step.ffn_weights.up = ReadLinearWeights(weight_reader, "up", step.ffn.hidden, step.ffn.dim);
    step.ffn_weights.down = ReadLinearWeights(weight_reader, "down", step.ffn.dim, step.ffn.hidden);
    weight_reader.Finish();
  }

  void ReadLayerNorm(DataMap& reader, Step& step) {
    const auto index = static_cast<size_t>(step.input);
    if (index >= plan_.tensors.size()) {
      throw std::invalid_argument(reader.NameOf("input") + " is tensor " + std::to_string(index) +
                                  ", which the plan does not have");
    }
    const int64_t channels = plan_.tensors[index].channels;
    step.gamma = reader.Array("gamma", {channels});
    step.beta = reader.Array("beta", {channels});
    step.epsilon = reader.Float("epsilon", step.epsilon);
  }

  Plan plan_;
};

}  // namespace

Activation ReadActivation(DataMap& reader) {
  const std::string name = reader.NameOf("activation");
  const std::unique_ptr<DataValue> value = reader.Optional("activation");
  const std::string activation = value ? value->String(name) : "none";
  if (activation == "none") return Activation::kNone;
  if (activation == "silu") return Activation::kSilu;
  throw std::invalid_argument(name + " is '" + activation + "'; expected none or silu");
}

int ReadOptionalTensor(DataMap& reader, const char* key) {
  return static_cast<int>(reader.Int(key, -1, INT_MAX, -1));
}

void ReadPatch(DataMap& reader, Step& step) {
  step.patch_height = reader.Int("patch_height", 1, INT_MAX, step.patch_height);
  step.patch_width = reader.Int("patch_width", 1, INT_MAX, step.patch_width);
}

Plan ReadPlan(std::unique_ptr<DataValue> plan) { return PlanReader().Read(std::move(plan)); }

ConvAlgorithm AlgorithmCalled(const std::string& algorithm, const std::string& name) {
  if (algorithm == "direct") return ConvAlgorithm::kDirect;
  if (algorithm == "winograd2") return ConvAlgorithm::kWinograd2;
  if (algorithm == "winograd4") return ConvAlgorithm::kWinograd4;
  throw std::invalid_argument(name + " is '" + algorithm + "'; expected direct, winograd2 or winograd4");
}

}  // namespace mvf

#include "engine/int8_plan_reader.h"

#include <climits>
#include <stdexcept>

namespace mvf {
namespace {

int64_t ReadSize(DataMap& reader, const char* key) { return reader.Int(key, 1, INT_MAX); }

int32_t ReadZero(DataMap& reader, const char* key) { return static_cast<int32_t>(reader.Int(key, 0, 255)); }

int32_t ReadZero(DataMap& reader, const char* key, int32_t otherwise) {
  return static_cast<int32_t>(reader.Int(key, 0, 255, otherwise));
}

Int8Input ReadInput(DataMap& reader) {
  const std::string name = reader.NameOf("input");
  const std::unique_ptr<DataValue> value = reader.Optional("input");
  const std::string input = value ? value->String(name) : "bytes";
  if (input == "bytes") return Int8Input::kBytes;
  if (input == "static") return Int8Input::kStatic;
  if (input == "dynamic") return Int8Input::kDynamic;
  throw std::invalid_argument(name + " is '" + input + "'; expected bytes, static or dynamic");
}

Int8Weights ReadIntegers(DataMap& reader, const Shape& shape, int64_t outputs) {
  Int8Weights weights;
  weights.weight = reader.Array<int8_t>("weight", shape);
  if (reader.Optional("bias")) weights.bias = reader.Array<int32_t>("bias", {outputs});
  return weights;
}

void ReadWeights(DataMap& reader, const Shape& shape, int64_t outputs, Int8Weights& weights,
                 Requantization& requantization) {
  weights = ReadIntegers(reader, shape, outputs);
  requantization.multiplier = reader.Array("multiplier", {outputs});
  requantization.offset = reader.Array("offset", {outputs});
  if (reader.Optional("table")) requantization.table = reader.Array<uint8_t>("table", {256});
  reader.Finish();
}

void ReadConv(DataMap& parent, Step& step) {
  Int8Conv3x3Shape& conv = step.int8_conv;
  DataMap reader = parent.Map("conv");
  conv.in = ReadSize(reader, "in");
  conv.in_second = reader.Int("in_second", 0, INT_MAX, 0);
  conv.out = ReadSize(reader, "out");
  conv.stride = reader.Int("stride", 1, 2, conv.stride);
  conv.input_zero = ReadZero(reader, "input_zero");
  conv.second_zero = ReadZero(reader, "second_zero", 0);
  conv.input_scale = reader.Float("input_scale", conv.input_scale);
  reader.Finish();
  DataMap weights = parent.Map("conv_weights");
  ReadWeights(weights, {conv.out, 3, 3, conv.in + conv.in_second}, conv.out, step.int8_conv_weights.weights,
              step.int8_conv_weights.requantization);
}

void ReadInvertedResidual(DataMap& parent, Step& step) {
  Int8InvertedResidualShape& shape = step.int8_inverted_residual;
  DataMap reader = parent.Map("inverted_residual");
  shape.in = ReadSize(reader, "in");
  shape.expanded = ReadSize(reader, "expanded");
  shape.out = ReadSize(reader, "out");
  shape.stride = reader.Int("stride", 1, 2);
  shape.residual = reader.Bool("residual", false);
  shape.input_zero = ReadZero(reader, "input_zero");
  shape.expanded_zero = ReadZero(reader, "expanded_zero");
  shape.depthwise_zero = ReadZero(reader, "depthwise_zero");
  shape.residual_multiplier = reader.Float("residual_multiplier", 0.0f);
  reader.Finish();

  Int8InvertedResidualWeights& weights = step.int8_inverted_residual_weights;
  DataMap parts = parent.Map("inverted_residual_weights");
  DataMap expand = parts.Map("expand"), depthwise = parts.Map("depthwise"), project = parts.Map("project");
  parts.Finish();
  ReadWeights(expand, {shape.expanded, shape.in}, shape.expanded, weights.expand,
              weights.expand_requantization);
  ReadWeights(depthwise, {3, 3, shape.expanded}, shape.expanded, weights.depthwise,
              weights.depthwise_requantization);
  ReadWeights(project, {shape.out, shape.expanded}, shape.out, weights.project,
              weights.project_requantization);
}

void ReadLinear(DataMap& parent, Step& step) {
  Int8LinearShape& linear = step.int8_linear;
  DataMap reader = parent.Map("linear");
  linear.in = ReadSize(reader, "in");
  linear.out = ReadSize(reader, "out");
  linear.input = ReadInput(reader);
  linear.input_scale = reader.Float("input_scale", linear.input_scale);
  linear.input_zero = ReadZero(reader, "input_zero", linear.input_zero);
  linear.normalize = reader.Bool("normalize", false);
  linear.epsilon = reader.Float("epsilon", linear.epsilon);
  linear.float_output = reader.Bool("float_output", false);
  step.int8_linear_weights.activation = ReadActivation(reader);
  reader.Finish();
  DataMap weights = parent.Map("linear_weights");
  ReadWeights(weights, {linear.out, linear.in}, linear.out, step.int8_linear_weights.weights,
              step.int8_linear_weights.requantization);
}

void ReadFfn(DataMap& parent, Step& step) {
  Int8FfnShape& ffn = step.int8_ffn;
  DataMap reader = parent.Map("ffn");
  ffn.dim = ReadSize(reader, "dim");
  ffn.hidden = ReadSize(reader, "hidden");
  ffn.input_scale = reader.Float("input_scale");
  ffn.input_zero = ReadZero(reader, "input_zero");
  ffn.hidden_zero = ReadZero(reader, "hidden_zero");
  ffn.epsilon = reader.Float("epsilon", ffn.epsilon);
  reader.Finish();
  Int8FfnWeights& weights = step.int8_ffn_weights;
  DataMap parts = parent.Map("ffn_weights");
  DataMap up = parts.Map("up"), down = parts.Map("down");
  parts.Finish();
  ReadWeights(up, {ffn.hidden, ffn.dim}, ffn.hidden, weights.up, weights.up_requantization);
  weights.down = ReadIntegers(down, {ffn.dim, ffn.hidden}, ffn.dim);
  weights.down_multiplier = down.Array("multiplier", {ffn.dim});
  down.Finish();
}

}  // namespace

void ReadInt8Fields(DataMap& reader, Step& step) {
  switch (step.kind) {
    case StepKind::kInt8Conv3x3:
      step.second_input = ReadOptionalTensor(reader, "second_input");
      return ReadConv(reader, step);
    case StepKind::kInt8Stem:
      return ReadConv(reader, step);
    case StepKind::kInt8InvertedResidual:
      return ReadInvertedResidual(reader, step);
    case StepKind::kInt8Linear:
      step.residual = ReadOptionalTensor(reader, "residual");
      return ReadLinear(reader, step);
    case StepKind::kInt8Ffn:
      return ReadFfn(reader, step);
    case StepKind::kInt8Attention:
      step.heads = reader.Int("heads", 1, INT_MAX);
      step.score_scale = reader.Float("score_scale");
      step.output_multiplier = reader.Float("output_multiplier");
      step.zero = ReadZero(reader, "zero");
      return ReadPatch(reader, step);
    default:
      return ReadGrid(reader, step);
  }
}

void ReadGrid(DataMap& reader, Step& step) {
  step.scale = reader.Float("scale");
  step.zero = ReadZero(reader, "zero");
}

}  // namespace mvf

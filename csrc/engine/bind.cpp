#include "engine/bind.h"

namespace mvf {
namespace {

const Step& StepOf(const Frame& frame, size_t step) { return frame.plan->steps[step]; }

TensorType TypeOf(const Frame& frame, int tensor) { return frame.plan->tensors[tensor].type; }

}  // namespace

Map TensorMap(const Frame& frame, int tensor) {
  const TensorPlace& place = frame.program->tensors[tensor];
  std::byte* data = frame.arena ? frame.arena + place.offset : nullptr;
  return DenseMap(data, place.height, place.width, frame.plan->tensors[tensor].channels);
}

Rows TensorRows(const Frame& frame, int tensor) {
  const Map map = TensorMap(frame, tensor);
  return {map.data, map.height * map.width, map.channels};
}

StemArgs BindStem(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  StemArgs args;
  args.shape = step.conv;
  args.packed = frame.weights->of(index).packed;
  args.input = frame.image;
  args.output = TensorMap(frame, step.output);
  return args;
}

InvertedResidualArgs BindInvertedResidual(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  InvertedResidualArgs args;
  args.shape = step.inverted_residual;
  args.packed = frame.weights->of(index).packed;
  args.input = TensorMap(frame, step.input);
  args.output = TensorMap(frame, step.output);
  return args;
}

Conv3x3Args BindConv3x3(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  Conv3x3Args args;
  args.shape = step.conv;
  args.packed = frame.weights->of(index).packed;
  args.input = TensorMap(frame, step.input);
  if (step.conv.in_second > 0) args.second = TensorMap(frame, step.second_input);
  args.output = TensorMap(frame, step.output);
  return args;
}

LinearArgs BindLinear(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  const Rows input = TensorRows(frame, step.input), output = TensorRows(frame, step.output);
  LinearArgs args;
  args.shape = step.linear;
  args.packed = frame.weights->of(index).packed;
  args.rows = input.count;
  args.input = input.data;
  args.input_stride = input.stride;
  args.output = output.data;
  args.output_stride = output.stride;
  args.float_output = TypeOf(frame, step.output) == TensorType::kFloat;
  if (step.residual != -1) {
    const Rows residual = TensorRows(frame, step.residual);
    args.residual = residual.data;
    args.residual_stride = residual.stride;
  }
  return args;
}

FfnArgs BindFfn(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  const Rows stream = TensorRows(frame, step.output);
  FfnArgs args;
  args.shape = step.ffn;
  args.packed = frame.weights->of(index).packed;
  args.rows = stream.count;
  args.stream = static_cast<float*>(stream.data);
  args.stream_stride = stream.stride;
  return args;
}

AttentionArgs BindAttention(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  AttentionArgs args;
  args.qkv = TensorMap(frame, step.input);
  args.output = TensorMap(frame, step.output);
  args.heads = step.heads;
  args.patch_height = step.patch_height;
  args.patch_width = step.patch_width;
  return args;
}

LayerNormArgs BindLayerNorm(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  const Rows input = TensorRows(frame, step.input), output = TensorRows(frame, step.output);
  LayerNormArgs args;
  args.rows = input.count;
  args.channels = input.stride;
  args.input = static_cast<const float*>(input.data);
  args.input_stride = input.stride;
  args.gamma = frame.weights->of(index).gamma;
  args.beta = frame.weights->of(index).beta;
  args.output = output.data;
  args.output_stride = output.stride;
  args.epsilon = step.epsilon;
  return args;
}

ResizeArgs BindResize(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  ResizeArgs args;
  args.input = TensorMap(frame, step.input);
  args.output = TensorMap(frame, step.output);
  args.type = TypeOf(frame, step.input) == TensorType::kFloat ? DType::kF32 : frame.element;
  return args;
}

GlobalPoolArgs BindGlobalPool(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  GlobalPoolArgs args;
  args.input = TensorMap(frame, step.input);
  args.output = TensorMap(frame, step.output).data;
  args.float_output = TypeOf(frame, step.output) == TensorType::kFloat;
  return args;
}

}  // namespace mvf

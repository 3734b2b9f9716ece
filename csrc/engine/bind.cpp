#include "engine/bind.h"

#include "engine/bind_parts.h"

namespace mvf {
namespace {

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
  return BindStemImage<StemArgs>(frame, index, StepOf(frame, index).conv);
}

InvertedResidualArgs BindInvertedResidual(const Frame& frame, size_t index) {
  return BindConvolution<InvertedResidualArgs>(frame, index, StepOf(frame, index).inverted_residual);
}

Conv3x3Args BindConv3x3(const Frame& frame, size_t index) {
  return BindJoiningConvolution<Conv3x3Args>(frame, index, StepOf(frame, index).conv);
}

LinearArgs BindLinear(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  LinearArgs args = BindProduct<LinearArgs>(frame, index, step.linear);
  args.float_output = TypeOf(frame, step.output) == TensorType::kFloat;
  return args;
}

FfnArgs BindFfn(const Frame& frame, size_t index) {
  return BindStream<FfnArgs>(frame, index, StepOf(frame, index).ffn);
}

AttentionArgs BindAttention(const Frame& frame, size_t index) {
  return BindTokens<AttentionArgs>(frame, index);
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

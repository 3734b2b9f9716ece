#include "engine/int8_bind.h"

#include "engine/bind_parts.h"

namespace mvf {
namespace {

// `values` are the float rows, `bytes` the others.
QuantizeArgs BindGrid(const Frame& frame, const Step& step, const Rows& values, const Rows& bytes) {
  QuantizeArgs args;
  args.rows = values.count;
  args.channels = frame.plan->tensors[step.input].channels;
  args.values = static_cast<float*>(values.data);
  args.values_stride = values.stride;
  args.bytes = static_cast<uint8_t*>(bytes.data);
  args.bytes_stride = bytes.stride;
  args.scale = step.scale;
  args.zero = step.zero;
  return args;
}

}  // namespace

Int8StemArgs BindInt8Stem(const Frame& frame, size_t index) {
  return BindStemImage<Int8StemArgs>(frame, index, StepOf(frame, index).int8_conv);
}

Int8InvertedResidualArgs BindInt8InvertedResidual(const Frame& frame, size_t index) {
  return BindConvolution<Int8InvertedResidualArgs>(frame, index, StepOf(frame, index).int8_inverted_residual);
}

Int8Conv3x3Args BindInt8Conv3x3(const Frame& frame, size_t index) {
  return BindJoiningConvolution<Int8Conv3x3Args>(frame, index, StepOf(frame, index).int8_conv);
}

Int8LinearArgs BindInt8Linear(const Frame& frame, size_t index) {
  return BindProduct<Int8LinearArgs>(frame, index, StepOf(frame, index).int8_linear);
}

Int8FfnArgs BindInt8Ffn(const Frame& frame, size_t index) {
  return BindStream<Int8FfnArgs>(frame, index, StepOf(frame, index).int8_ffn);
}

Int8AttentionArgs BindInt8Attention(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  Int8AttentionArgs args = BindTokens<Int8AttentionArgs>(frame, index);
  args.score_scale = step.score_scale;
  args.output_multiplier = step.output_multiplier;
  args.output_zero = step.zero;
  return args;
}

Int8LayerNormArgs BindInt8LayerNorm(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  return {BindLayerNorm(frame, index), step.scale, step.zero};
}

Int8GlobalPoolArgs BindInt8GlobalPool(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  Int8GlobalPoolArgs args;
  args.input = TensorMap(frame, step.input);
  args.output = static_cast<float*>(TensorMap(frame, step.output).data);
  args.scale = step.scale;
  args.zero = step.zero;
  return args;
}

QuantizeArgs BindQuantize(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  return BindGrid(frame, step, TensorRows(frame, step.input), TensorRows(frame, step.output));
}

QuantizeArgs BindDequantize(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  return BindGrid(frame, step, TensorRows(frame, step.output), TensorRows(frame, step.input));
}

}  // namespace mvf

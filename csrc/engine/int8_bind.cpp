#include "engine/int8_bind.h"

#include "engine/bind.h"

namespace mvf {
namespace {

const Step& StepOf(const Frame& frame, size_t step) { return frame.plan->steps[step]; }

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
  const Step& step = StepOf(frame, index);
  Int8StemArgs args;
  args.shape = step.int8_conv;
  args.packed = frame.weights->of(index).packed;
  args.input = frame.image;
  args.output = TensorMap(frame, step.output);
  return args;
}

Int8InvertedResidualArgs BindInt8InvertedResidual(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  Int8InvertedResidualArgs args;
  args.shape = step.int8_inverted_residual;
  args.packed = frame.weights->of(index).packed;
  args.input = TensorMap(frame, step.input);
  args.output = TensorMap(frame, step.output);
  return args;
}

Int8Conv3x3Args BindInt8Conv3x3(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  Int8Conv3x3Args args;
  args.shape = step.int8_conv;
  args.packed = frame.weights->of(index).packed;
  args.input = TensorMap(frame, step.input);
  if (step.second_input != -1) args.second = TensorMap(frame, step.second_input);
  args.output = TensorMap(frame, step.output);
  return args;
}

Int8LinearArgs BindInt8Linear(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  const Rows input = TensorRows(frame, step.input), output = TensorRows(frame, step.output);
  Int8LinearArgs args;
  args.shape = step.int8_linear;
  args.packed = frame.weights->of(index).packed;
  args.rows = input.count;
  args.input = input.data;
  args.input_stride = input.stride;
  args.output = output.data;
  args.output_stride = output.stride;
  if (step.residual != -1) {
    const Rows residual = TensorRows(frame, step.residual);
    args.residual = static_cast<const float*>(residual.data);
    args.residual_stride = residual.stride;
  }
  return args;
}

Int8FfnArgs BindInt8Ffn(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  const Rows stream = TensorRows(frame, step.output);
  Int8FfnArgs args;
  args.shape = step.int8_ffn;
  args.packed = frame.weights->of(index).packed;
  args.rows = stream.count;
  args.stream = static_cast<float*>(stream.data);
  args.stream_stride = stream.stride;
  return args;
}

Int8AttentionArgs BindInt8Attention(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  Int8AttentionArgs args;
  args.qkv = TensorMap(frame, step.input);
  args.output = TensorMap(frame, step.output);
  args.heads = step.heads;
  args.patch_height = step.patch_height;
  args.patch_width = step.patch_width;
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

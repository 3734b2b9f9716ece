// What the arguments of a float kernel and those of its 8-bit sibling have in common.
#pragma once

#include "engine/bind.h"

namespace mvf {

inline const Step& StepOf(const Frame& frame, size_t index) { return frame.plan->steps[index]; }

template <class Args, class Shape>
Args BindWeights(const Frame& frame, size_t index, const Shape& shape) {
  Args args;
  args.shape = shape;
  args.packed = frame.weights->of(index).packed;
  return args;
}

template <class Args, class Shape>
Args BindStemImage(const Frame& frame, size_t index, const Shape& shape) {
  Args args = BindWeights<Args>(frame, index, shape);
  args.input = frame.image;
  args.output = TensorMap(frame, StepOf(frame, index).output);
  return args;
}

template <class Args, class Shape>
Args BindConvolution(const Frame& frame, size_t index, const Shape& shape) {
  const Step& step = StepOf(frame, index);
  Args args = BindWeights<Args>(frame, index, shape);
  args.input = TensorMap(frame, step.input);
  args.output = TensorMap(frame, step.output);
  return args;
}

template <class Args, class Shape>
Args BindJoiningConvolution(const Frame& frame, size_t index, const Shape& shape) {
  const Step& step = StepOf(frame, index);
  Args args = BindConvolution<Args>(frame, index, shape);
  if (step.second_input != -1) args.second = TensorMap(frame, step.second_input);
  return args;
}

template <class Args, class Shape>
Args BindProduct(const Frame& frame, size_t index, const Shape& shape) {
  const Step& step = StepOf(frame, index);
  const Rows input = TensorRows(frame, step.input), output = TensorRows(frame, step.output);
  Args args = BindWeights<Args>(frame, index, shape);
  args.rows = input.count;
  args.input = input.data;
  args.input_stride = input.stride;
  args.output = output.data;
  args.output_stride = output.stride;
  if (step.residual != -1) {
    const Rows residual = TensorRows(frame, step.residual);
    args.residual = static_cast<decltype(args.residual)>(residual.data);
    args.residual_stride = residual.stride;
  }
  return args;
}

template <class Args, class Shape>
Args BindStream(const Frame& frame, size_t index, const Shape& shape) {
  const Rows stream = TensorRows(frame, StepOf(frame, index).output);
  Args args = BindWeights<Args>(frame, index, shape);
  args.rows = stream.count;
  args.stream = static_cast<decltype(args.stream)>(stream.data);
  args.stream_stride = stream.stride;
  return args;
}

template <class Args>
Args BindTokens(const Frame& frame, size_t index) {
  const Step& step = StepOf(frame, index);
  Args args;
  args.qkv = TensorMap(frame, step.input);
  args.output = TensorMap(frame, step.output);
  args.heads = step.heads;
  args.patch_height = step.patch_height;
  args.patch_width = step.patch_width;
  return args;
}

}  // namespace mvf

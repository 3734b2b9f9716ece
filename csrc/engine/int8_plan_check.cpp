#include "engine/int8_plan_check.h"

#include <cstdlib>

#include "kernels/int8_kernels.h"

namespace mvf {
namespace {

constexpr TensorType kBytes = TensorType::kBytes;
constexpr TensorType kFloat = TensorType::kFloat;

void CheckZero(const StepChecker& check, const char* name, int32_t zero) {
  check.Require(zero >= 0 && zero <= 255,
                std::string(name) + " is " + std::to_string(zero) + "; expected 0 to 255");
}

void CheckScale(const StepChecker& check, const char* name, float scale) {
  check.Require(std::isnormal(scale) && scale > 0 && std::isnormal(1 / scale),
                std::string(name) + " must be positive, and neither it nor its inverse may overflow");
}

void CheckFactor(const StepChecker& check, const char* name, float factor) {
  check.Require(std::isfinite(factor), std::string(name) + " must be finite");
}

void CheckPositive(const StepChecker& check, const char* name, float factor) {
  check.Require(std::isfinite(factor) && factor > 0, std::string(name) + " must be positive");
}

void CheckWidth(const StepChecker& check, const char* role, int64_t channels) {
  check.Require(channels >= 1 && channels <= kMaxChannels,
                std::string(role) + " has " + std::to_string(channels) + " channels");
}

void CheckWeights(const StepChecker& check, const Int8Weights& weights, int64_t inputs, int64_t out) {
  check.RequireWeights({weights.weight});
  check.Require(inputs <= kMaxInt8Inputs, "a sum of " + std::to_string(inputs) +
                                              " products may overflow; at most " +
                                              std::to_string(kMaxInt8Inputs));
  if (!weights.bias) return;
  for (int64_t n = 0; n < out; ++n) {
    check.Require(weights.bias[n] >= -kMaxInt8Bias && weights.bias[n] <= kMaxInt8Bias,
                  "bias " + std::to_string(weights.bias[n]) + " is beyond " + std::to_string(kMaxInt8Bias));
  }
}

void CheckWeights(const StepChecker& check, const Int8Weights& weights, int64_t inputs, int64_t out,
                  const Requantization& requantization) {
  CheckWeights(check, weights, inputs, out);
  check.RequireWeights({requantization.multiplier, requantization.offset});
}

void CheckBytesMap(const StepChecker& check, const char* role, int tensor, int64_t channels) {
  check.CheckMap(role, tensor);
  check.RequireChannels(role, tensor, channels);
  check.RequireType(role, tensor, kBytes);
}

void WriteOutput(StepChecker& check, int tensor, bool is_vector, int64_t channels, TensorType type) {
  check.Write(tensor, is_vector);
  check.RequireChannels("output", tensor, channels);
  check.RequireType("output", tensor, type);
}

void CheckStem(StepChecker& check, const Step& step) {
  const Int8Conv3x3Shape& conv = step.int8_conv;
  check.CheckStride(conv.stride);
  check.Require(conv.in == check.plan().image_channels, "the weight reads " + std::to_string(conv.in) +
                                                            " channels; the image has " +
                                                            std::to_string(check.plan().image_channels));
  check.Require(conv.in_second == 0, "the stem has one input");
  CheckScale(check, "input_scale", conv.input_scale);
  CheckZero(check, "input_zero", conv.input_zero);
  CheckWidth(check, "output", conv.out);
  CheckWeights(check, step.int8_conv_weights.weights, 9 * conv.in, conv.out,
               step.int8_conv_weights.requantization);
  WriteOutput(check, step.output, false, conv.out, kBytes);
}

void CheckConv3x3(StepChecker& check, const Step& step) {
  const Int8Conv3x3Shape& conv = step.int8_conv;
  check.CheckStride(conv.stride);
  CheckBytesMap(check, "input", step.input, conv.in);
  if (conv.in_second > 0) {
    CheckBytesMap(check, "second_input", step.second_input, conv.in_second);
  } else {
    check.Require(conv.in_second == 0 && step.second_input == -1,
                  "second_input needs weights of its channels");
  }
  CheckZero(check, "input_zero", conv.input_zero);
  CheckZero(check, "second_zero", conv.second_zero);
  CheckWidth(check, "output", conv.out);
  CheckWeights(check, step.int8_conv_weights.weights, 9 * (conv.in + conv.in_second), conv.out,
               step.int8_conv_weights.requantization);
  WriteOutput(check, step.output, false, conv.out, kBytes);
}

void CheckInvertedResidual(StepChecker& check, const Step& step) {
  const Int8InvertedResidualShape& shape = step.int8_inverted_residual;
  check.CheckStride(shape.stride);
  CheckBytesMap(check, "input", step.input, shape.in);
  CheckWidth(check, "expanded", shape.expanded);
  CheckWidth(check, "output", shape.out);
  check.Require(!shape.residual || (shape.stride == 1 && shape.in == shape.out),
                "a residual needs stride 1 and as many output as input channels");
  CheckZero(check, "input_zero", shape.input_zero);
  CheckZero(check, "expanded_zero", shape.expanded_zero);
  CheckZero(check, "depthwise_zero", shape.depthwise_zero);
  CheckFactor(check, "residual_multiplier", shape.residual_multiplier);
  const Int8InvertedResidualWeights& weights = step.int8_inverted_residual_weights;
  CheckWeights(check, weights.expand, shape.in, shape.expanded, weights.expand_requantization);
  CheckWeights(check, weights.depthwise, 9, shape.expanded, weights.depthwise_requantization);
  CheckWeights(check, weights.project, shape.expanded, shape.out, weights.project_requantization);
  WriteOutput(check, step.output, false, shape.out, kBytes);
}

void CheckLinear(StepChecker& check, const Step& step) {
  const Int8LinearShape& linear = step.int8_linear;
  const Int8LinearWeights& weights = step.int8_linear_weights;
  check.CheckRead("input", step.input);
  check.RequireChannels("input", step.input, linear.in);
  if (linear.input == Int8Input::kBytes) {
    check.RequireType("input", step.input, kBytes);
  } else {
    check.RequireNoBytes("input", step.input);
  }
  if (linear.input == Int8Input::kStatic) CheckScale(check, "input_scale", linear.input_scale);
  CheckZero(check, "input_zero", linear.input_zero);
  check.Require(!linear.normalize || linear.input != Int8Input::kBytes, "bytes cannot be normalised");
  check.Require(linear.float_output || linear.input != Int8Input::kDynamic,
                "a dynamic input needs a float output");
  check.Require(linear.float_output || weights.activation == Activation::kNone,
                "an activation of bytes is a table");
  check.Require(!linear.float_output || !weights.requantization.table, "a float output takes no table");
  if (linear.normalize) check.CheckEpsilon(linear.epsilon);
  CheckWidth(check, "output", linear.out);
  CheckWeights(check, weights.weights, linear.in, linear.out, weights.requantization);
  const bool in_place = step.residual != -1 && step.residual == step.output;
  if (step.residual != -1) {
    check.CheckRead("residual", step.residual);
    check.RequireChannels("residual", step.residual, linear.out);
    check.RequireNoBytes("residual", step.residual);
    check.Require(check.is_vector(step.residual) == check.is_vector(step.input),
                  "residual and input must both be maps or both be vectors");
    check.Require(step.residual != step.input || !in_place, "it cannot overwrite its own input");
    check.Require(linear.float_output, "a residual needs a float output");
  }
  if (!in_place) check.Write(step.output, check.is_vector(step.input));
  check.RequireChannels("output", step.output, linear.out);
  if (linear.float_output) {
    check.RequireNoBytes("output", step.output);
  } else {
    check.RequireType("output", step.output, kBytes);
  }
}

void CheckFfn(StepChecker& check, const Step& step) {
  const Int8FfnShape& ffn = step.int8_ffn;
  const Int8FfnWeights& weights = step.int8_ffn_weights;
  check.CheckRead("input", step.input);
  check.Require(step.output == step.input, "int8_ffn works in place: output must be its input");
  check.RequireChannels("input", step.input, ffn.dim);
  check.RequireType("input", step.input, kFloat);
  check.CheckEpsilon(ffn.epsilon);
  CheckScale(check, "input_scale", ffn.input_scale);
  CheckZero(check, "input_zero", ffn.input_zero);
  CheckZero(check, "hidden_zero", ffn.hidden_zero);
  CheckWidth(check, "hidden", ffn.hidden);
  CheckWeights(check, weights.up, ffn.dim, ffn.hidden, weights.up_requantization);
  CheckWeights(check, weights.down, ffn.hidden, ffn.dim);
  check.RequireWeights({weights.down_multiplier});
}

void CheckAttention(StepChecker& check, const Step& step) {
  const int64_t dim = check.CheckQkv(step);
  check.RequireType("input", step.input, kBytes);
  CheckPositive(check, "score_scale", step.score_scale);
  CheckPositive(check, "output_multiplier", step.output_multiplier);
  CheckZero(check, "zero", step.zero);
  check.Require(dim / step.heads <= kMaxInt8Inputs,
                "heads of " + std::to_string(dim / step.heads) + " channels may overflow");
  WriteOutput(check, step.output, false, dim, kBytes);
}

void CheckGrid(const StepChecker& check, const Step& step) {
  CheckScale(check, "scale", step.scale);
  CheckZero(check, "zero", step.zero);
}

void CheckLayerNorm(StepChecker& check, const Step& step) {
  check.CheckRead("input", step.input);
  check.RequireType("input", step.input, kFloat);
  check.CheckEpsilon(step.epsilon);
  check.RequireWeights({step.gamma, step.beta});
  CheckGrid(check, step);
  WriteOutput(check, step.output, check.is_vector(step.input), check.ChannelsOf(step.input), kBytes);
}

void CheckGlobalPool(StepChecker& check, const Step& step) {
  check.CheckMap("input", step.input);
  check.RequireType("input", step.input, kBytes);
  CheckGrid(check, step);
  check.Write(step.output, true);
  check.RequireChannels("output", step.output, check.ChannelsOf(step.input));
  check.RequireNoBytes("output", step.output);
}

void CheckQuantize(StepChecker& check, const Step& step) {
  check.CheckRead("input", step.input);
  check.RequireNoBytes("input", step.input);
  CheckGrid(check, step);
  WriteOutput(check, step.output, check.is_vector(step.input), check.ChannelsOf(step.input), kBytes);
}

void CheckDequantize(StepChecker& check, const Step& step) {
  check.CheckRead("input", step.input);
  check.RequireType("input", step.input, kBytes);
  CheckGrid(check, step);
  check.Write(step.output, check.is_vector(step.input));
  check.RequireChannels("output", step.output, check.ChannelsOf(step.input));
  check.RequireNoBytes("output", step.output);
}

// Of a kind on bytes; a resize is one where its tensors are.
bool HasKernel(const Int8Kernels& kernels, StepKind kind) {
  switch (kind) {
    case StepKind::kInt8Stem:
      return kernels.stem.run;
    case StepKind::kInt8InvertedResidual:
      return kernels.inverted_residual.run;
    case StepKind::kInt8Conv3x3:
      return kernels.conv3x3.run;
    case StepKind::kInt8Linear:
      return kernels.linear.run;
    case StepKind::kInt8Ffn:
      return kernels.ffn.run;
    case StepKind::kInt8Attention:
      return kernels.attention.run;
    case StepKind::kInt8LayerNorm:
      return kernels.layer_norm.run;
    case StepKind::kInt8GlobalPool:
      return kernels.global_pool.run;
    case StepKind::kQuantize:
      return kernels.quantize.run;
    case StepKind::kDequantize:
      return kernels.dequantize.run;
    default:
      return kernels.resize.run;
  }
}

}  // namespace

void CheckInt8Step(StepChecker& check, const Step& step) {
  switch (step.kind) {
    case StepKind::kInt8Stem:
      return CheckStem(check, step);
    case StepKind::kInt8InvertedResidual:
      return CheckInvertedResidual(check, step);
    case StepKind::kInt8Conv3x3:
      return CheckConv3x3(check, step);
    case StepKind::kInt8Linear:
      return CheckLinear(check, step);
    case StepKind::kInt8Ffn:
      return CheckFfn(check, step);
    case StepKind::kInt8Attention:
      return CheckAttention(check, step);
    case StepKind::kInt8LayerNorm:
      return CheckLayerNorm(check, step);
    case StepKind::kInt8GlobalPool:
      return CheckGlobalPool(check, step);
    case StepKind::kQuantize:
      return CheckQuantize(check, step);
    case StepKind::kDequantize:
      return CheckDequantize(check, step);
    default:
      check.Fail("unknown kind");
  }
}

void CheckInt8Kernels(const Plan& plan, const KernelTable& table) {
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    if (!IsInt8(step.kind) && plan.tensors[step.output].type != TensorType::kBytes) continue;
    // The float side of a step on bytes is float32.
    if (table.int8 && table.element == DType::kF32 && HasKernel(*table.int8, step.kind)) continue;
    throw std::invalid_argument(Describe(plan, i) + ": the kernel table " + table.name +
                                " has no such kernel; use precision='int8' and isa=None");
  }
}

}  // namespace mvf

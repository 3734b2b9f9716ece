// A plan: the network as plain data. It knows channels, not sizes; the engine infers the sizes of an image.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "kernels/int8_kernels.h"
#include "kernels/kernel_table.h"

namespace mvf {

enum class StepKind {
  kStem,
  kInvertedResidual,
  kConv3x3,
  kLinear,
  kFfn,
  kAttention,
  kLayerNorm,
  kResizeToPatch,  // up to the next multiple of the patch; the same tensor where it already is one
  kResizeLike,     // to the size of the tensor `like`; the same tensor where it already is that size
  kGlobalPool,
  // On bytes: int8_kernels.h. The resizes above take them, too.
  kInt8Stem,
  kInt8InvertedResidual,
  kInt8Conv3x3,
  kInt8Linear,
  kInt8Ffn,
  kInt8Attention,
  kInt8LayerNorm,
  kInt8GlobalPool,
  kQuantize,
  kDequantize,
};

// The kinds above that begin with kInt8Stem.
constexpr bool IsInt8(StepKind kind) { return kind >= StepKind::kInt8Stem; }

constexpr bool IsStem(StepKind kind) { return kind == StepKind::kStem || kind == StepKind::kInt8Stem; }

enum class TensorType {
  kElement,  // the table's element type
  kFloat,    // float in every precision (residual streams, pooled features, logits)
  kBytes,    // on a grid that the steps around it know
};

// A feature map (or a vector: one pixel) of one image between two steps.
struct PlanTensor {
  int64_t channels = 0;
  TensorType type = TensorType::kElement;
};

// Indices point into Plan::tensors; -1 means none. Only the fields that the kind names are read. Weight
// pointers need to live only until the engine has packed them.
struct Step {
  StepKind kind = StepKind::kLinear;
  std::string name;  // the layer's name in the model, for profiles
  int input = -1;
  int second_input = -1;  // kConv3x3, kInt8Conv3x3: the concatenation's second half
  int residual = -1;      // kLinear, kInt8Linear
  int like = -1;          // kResizeLike
  int output = -1;

  LinearShape linear;
  LinearWeights linear_weights;
  FfnShape ffn;  // kFfn and kInt8Ffn work in place: output == input
  FfnWeights ffn_weights;
  Conv3x3Shape conv;  // kConv3x3 and kStem
  Conv3x3Weights conv_weights;
  InvertedResidualShape inverted_residual;
  InvertedResidualWeights inverted_residual_weights;
  int64_t heads = 0;         // kAttention, kInt8Attention
  int64_t patch_height = 2;  // the same, and kResizeToPatch
  int64_t patch_width = 2;
  float epsilon = 1e-5f;  // kLayerNorm, kInt8LayerNorm
  const float* gamma = nullptr;
  const float* beta = nullptr;

  Int8LinearShape int8_linear;
  Int8LinearWeights int8_linear_weights;
  Int8FfnShape int8_ffn;
  Int8FfnWeights int8_ffn_weights;
  Int8Conv3x3Shape int8_conv;  // kInt8Conv3x3 and kInt8Stem
  Int8Conv3x3Weights int8_conv_weights;
  Int8InvertedResidualShape int8_inverted_residual;
  Int8InvertedResidualWeights int8_inverted_residual_weights;
  float score_scale = 1.0f;  // kInt8Attention
  float output_multiplier = 1.0f;
  float scale = 1.0f;  // of the bytes: kInt8LayerNorm, kInt8GlobalPool, kQuantize, kDequantize
  int32_t zero = 0;    // the same, and of kInt8Attention's output
};

// The tensors whose values a step reads, -1 for none.
inline std::array<int, 3> ReadBy(const Step& step) {
  const bool joins = step.kind == StepKind::kConv3x3 || step.kind == StepKind::kInt8Conv3x3;
  const bool adds = step.kind == StepKind::kLinear || step.kind == StepKind::kInt8Linear;
  return {IsStem(step.kind) ? -1 : step.input, joins ? step.second_input : -1, adds ? step.residual : -1};
}

struct Plan {
  std::vector<PlanTensor> tensors;
  std::vector<Step> steps;   // in execution order; the first is a stem, which reads the image
  std::vector<int> outputs;  // tensors that `run` hands out
  int64_t image_channels = 3;
};

}  // namespace mvf

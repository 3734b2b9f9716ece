// A plan: the network as plain data. It knows channels, not sizes; the engine infers the sizes of an image.
#pragma once

#include <string>
#include <vector>

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
};

// A feature map (or a vector: one pixel) of one image between two steps.
struct PlanTensor {
  int64_t channels = 0;
  bool is_float = false;  // float in every precision (residual streams, pooled features, logits)
};

// Indices point into Plan::tensors; -1 means none. Only the fields that the kind names are read. Weight
// pointers need to live only until the engine has packed them.
struct Step {
  StepKind kind = StepKind::kLinear;
  std::string name;  // the layer's name in the model, for profiles
  int input = -1;
  int second_input = -1;  // kConv3x3: the concatenation's second half
  int residual = -1;      // kLinear
  int like = -1;          // kResizeLike
  int output = -1;

  LinearShape linear;
  LinearWeights linear_weights;
  FfnShape ffn;  // kFfn works in place: output == input
  FfnWeights ffn_weights;
  Conv3x3Shape conv;  // kConv3x3 and kStem
  Conv3x3Weights conv_weights;
  InvertedResidualShape inverted_residual;
  InvertedResidualWeights inverted_residual_weights;
  int64_t heads = 0;         // kAttention
  int64_t patch_height = 2;  // kAttention, kResizeToPatch
  int64_t patch_width = 2;
  float epsilon = 1e-5f;  // kLayerNorm
  const float* gamma = nullptr;
  const float* beta = nullptr;
};

struct Plan {
  std::vector<PlanTensor> tensors;
  std::vector<Step> steps;   // in execution order; the first is kStem, which reads the image
  std::vector<int> outputs;  // tensors that `run` hands out
  int64_t image_channels = 3;
};

}  // namespace mvf

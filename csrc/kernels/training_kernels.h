// What training needs beside the kernels of kernel_table.h: gradients, and normalisation by a batch's own
// statistics. All in float32.
#pragma once

#include "kernels/kernel_table.h"

namespace mvf {

// ---- attention_backward: the gradient of a sum of upstream * attention(qkv), in float32 -----------------
// With w_tu = softmax_u(q_t . k_u / sqrt(head_dim)), o = upstream and g_tu = o_t . v_u,
// s_tu = w_tu * (g_tu - sum_x w_tx g_tx) / sqrt(head_dim):
// dq_t = sum_u s_tu k_u; dk_u = sum_t s_tu q_t; dv_u = sum_t w_tu o_t
struct AttentionBackwardArgs {
  Map qkv;       // float, as in AttentionArgs
  Map upstream;  // float, channels = dim
  Map gradient;  // float, as qkv; all of it is written
  int64_t heads = 0;
  int64_t patch_height = 2;
  int64_t patch_width = 2;
  // Work units as in AttentionArgs.
};

// ---- weight_gradient: gradient[o, i] = sum_m upstream[m, o] * input[m, i], that of a linear's weight ------
struct WeightGradientArgs {
  int64_t rows = 0;
  int64_t in = 0;
  int64_t out = 0;  // work units
  const float* input = nullptr;
  int64_t input_stride = 0;
  const float* upstream = nullptr;
  int64_t upstream_stride = 0;
  float* gradient = nullptr;  // [out][in]
  int64_t gradient_stride = 0;
};

// ---- channel_sums: for each chunk of kChannelSumRows rows and each channel, two sums over its rows --------
// Chunks are the work units, so that sums do not depend on the number of threads.
constexpr int64_t kChannelSumRows = 512;

// channel_moments: d = input[m, c] - shift[c] and d^2, where `shift` should be near the mean: the variance
// would drown in the cancellation of larger squares.
struct ChannelMomentsArgs {
  int64_t rows = 0;
  int64_t channels = 0;
  const float* input = nullptr;
  int64_t input_stride = 0;
  const float* shift = nullptr;
  double* sums = nullptr;  // [chunks][2][channels]
};

// ---- normalize: output[m, c] = activation(input[m, c] * scale[c] + offset[c]) -----------------------------
struct NormalizeArgs {
  int64_t rows = 0;
  int64_t channels = 0;
  const float* input = nullptr;
  int64_t input_stride = 0;
  const float* scale = nullptr;
  const float* offset = nullptr;
  Activation activation = Activation::kNone;
  float* output = nullptr;
  int64_t output_stride = 0;
  // Work units: chunks of kChannelSumRows rows.
};

// ---- normalize_backward -----------------------------------------------------------------------------------
// The first pass writes inner[m, c] = upstream[m, c] * activation'(input[m, c] * scale[c] + offset[c]), and
// sums up inner and inner * (input - mean). Between the two, their caller makes of the sums what is missing
// in the second: gradient[m, c] = inner_scale[c] * inner[m, c] + input_scale[c] * (input[m, c] - mean[c]) +
// shift[c]. Ioffe and Szegedy, "Batch Normalization", section 3.
struct NormalizeBackwardArgs {
  NormalizeArgs forward;  // output: `inner`, which the second pass turns into the gradient
  const float* upstream = nullptr;
  int64_t upstream_stride = 0;
  const float* mean = nullptr;
  double* sums = nullptr;              // [chunks][2][channels], of the first pass
  const float* inner_scale = nullptr;  // these three of the second
  const float* input_scale = nullptr;
  const float* shift = nullptr;
};

struct TrainingKernels {
  Kernel<AttentionBackwardArgs> attention_backward;
  Kernel<WeightGradientArgs> weight_gradient;
  Kernel<ChannelMomentsArgs> channel_moments;
  Kernel<NormalizeArgs> normalize;
  Kernel<NormalizeBackwardArgs> normalize_backward_sums;
  Kernel<NormalizeBackwardArgs> normalize_backward;
};

}  // namespace mvf

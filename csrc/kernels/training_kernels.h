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
  const float* residual = nullptr;  // [rows][channels], which is added at the end, or null
  int64_t residual_stride = 0;
  // Work units: chunks of kChannelSumRows rows.
};

// ---- normalize_backward -----------------------------------------------------------------------------------
// The first pass writes inner[m, c] = upstream[m, c] * activation'(input[m, c] * scale[c] + offset[c]), and
// sums up inner and inner * (input - mean). Between the two, their caller makes of the sums what is missing
// in the second: gradient[m, c] = inner_scale[c] * inner[m, c] + input_scale[c] * (input[m, c] - mean[c]) +
// shift[c]. Ioffe and Szegedy, "Batch Normalization", section 3.
struct NormalizeBackwardArgs {
  // output: `inner`, which the second pass turns into the gradient; null in the first where only sums count
  NormalizeArgs forward;
  const float* upstream = nullptr;
  int64_t upstream_stride = 0;
  const float* mean = nullptr;
  double* sums = nullptr;              // [chunks][2][channels], of the first pass
  const float* inner_scale = nullptr;  // these three of the second
  const float* input_scale = nullptr;
  const float* shift = nullptr;
};

// ---- layer_norm_backward: the gradients of a layer norm ---------------------------------------------------
// With x = (input - mean_m) / sqrt(var_m + epsilon) and g = upstream * gamma:
// output[m, c] = (g[m, c] - mean_c(g) - x[m, c] * mean_c(g * x)) / sqrt(var_m + epsilon)
// Sums for each chunk: upstream * x, and upstream.
struct LayerNormBackwardArgs {
  int64_t rows = 0;
  int64_t channels = 0;
  const float* input = nullptr;
  int64_t input_stride = 0;
  const float* upstream = nullptr;
  int64_t upstream_stride = 0;
  const float* gamma = nullptr;
  float epsilon = 1e-5f;
  float* output = nullptr;
  int64_t output_stride = 0;
  double* sums = nullptr;  // [chunks][2][channels]
  // Work units: chunks of kChannelSumRows rows.
};

// ---- conv3x3_weight_gradient ------------------------------------------------------------------------------
// gradient[o, i, j, c] = sum over all pixels of upstream[y, x, o] * input[s*y + i - 1, s*x + j - 1, c]
// Images are dense and lie one behind the other.
struct Conv3x3WeightGradientArgs {
  int64_t images = 0;
  int64_t height = 0;  // of the input
  int64_t width = 0;
  int64_t in = 0;
  int64_t out = 0;  // work units
  int64_t stride = 1;
  const float* input = nullptr;
  const float* upstream = nullptr;
  float* gradient = nullptr;  // [out][3][3][in]
};

// ---- Layers between batch norms ---------------------------------------------------------------------------
// The networks' layers are chains: a convolution, the norm of what it gives (raw), an activation, the next
// convolution. Neither normalised maps nor the gradients of raw ones exist in memory: each layer makes them
// of what is there, block by block. All maps and matrices are dense.

// x = activation(raw * scale + offset) for each channel; where scale is null, x = raw.
struct ChannelNorm {
  const float* scale = nullptr;
  const float* offset = nullptr;
  const float* mean = nullptr;  // of raw
  Activation activation = Activation::kNone;
};

// The gradient for raw, as in the second pass of normalize_backward. Where inner_scale is null it is `inner`.
struct NormGradient {
  const float* inner = nullptr;
  const float* raw = nullptr;
  const float* inner_scale = nullptr;
  const float* input_scale = nullptr;
  const float* mean = nullptr;
  const float* shift = nullptr;
};

// norm_linear: output[m, :] = weight * x[m, :]
// Sums for each chunk of kChannelSumRows rows: d = output[m, c] - output[first row of the chunk, c], and d^2.
struct NormLinearArgs {
  int64_t rows = 0;
  int64_t in = 0;
  int64_t out = 0;
  const float* input = nullptr;  // raw
  ChannelNorm norm;
  const void* packed = nullptr;  // as a linear's, without bias
  float* output = nullptr;
  double* sums = nullptr;  // [chunks][2][out]
  // Work units: chunks.
};

// norm_linear_backward: g = gradient * weight + residual
// output = g * activation'(normalised input), which is `inner` of the input's norm.
// Sums for each chunk: output, and output * (input - mean). Weight gradients are added up in shares of rows:
// their number does not depend on the number of threads, so that neither do the results.
constexpr int64_t kWeightGradientShares = 16;
struct NormLinearBackwardArgs {
  int64_t rows = 0;
  int64_t in = 0;
  int64_t out = 0;
  NormGradient gradient;         // [rows][out]
  const float* input = nullptr;  // raw
  ChannelNorm norm;
  const void* packed = nullptr;  // the transposed weight, as a linear's
  const float* residual = nullptr;
  float* output = nullptr;            // [rows][in], or null where nobody needs it
  double* sums = nullptr;             // [chunks][2][in], or null where the input has no norm
  float* weight_gradients = nullptr;  // [shares][out][in]
  int64_t shares = 0;                 // work units
};

// norm_depthwise: the depthwise 3x3 convolution of x, of one image. Sums as in norm_linear, for each segment
// of the output's rows.
constexpr int64_t kDepthwiseSegments = 4;
struct NormDepthwiseArgs {
  int64_t height = 0;  // of the input
  int64_t width = 0;
  int64_t channels = 0;
  int64_t stride = 1;
  const float* input = nullptr;  // raw
  ChannelNorm norm;              // never null
  const void* packed = nullptr;  // as dwconv3x3's
  float* output = nullptr;
  double* sums = nullptr;  // [kDepthwiseSegments][2][channels]
  // Work units: segments.
};

// norm_depthwise_backward: as norm_linear_backward, for each segment of the input's rows.
struct NormDepthwiseBackwardArgs {
  NormDepthwiseArgs forward;  // output: as in norm_linear_backward; packed: as for the forward pass
  NormGradient gradient;
  float* weight_gradients = nullptr;  // [kDepthwiseSegments][3][3][channels]
};

struct TrainingKernels {
  Kernel<AttentionBackwardArgs> attention_backward;
  Kernel<WeightGradientArgs> weight_gradient;
  Kernel<ChannelMomentsArgs> channel_moments;
  Kernel<NormalizeArgs> normalize;
  Kernel<NormalizeBackwardArgs> normalize_backward_sums;
  Kernel<NormalizeBackwardArgs> normalize_backward;
  Kernel<NormLinearArgs> norm_linear;
  Kernel<NormLinearBackwardArgs> norm_linear_backward;
  Kernel<NormDepthwiseArgs> norm_depthwise;
  Kernel<NormDepthwiseBackwardArgs> norm_depthwise_backward;
  Kernel<LayerNormBackwardArgs> layer_norm_backward;
  Kernel<Conv3x3WeightGradientArgs> conv3x3_weight_gradient;
};

}  // namespace mvf

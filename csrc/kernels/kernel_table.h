// The contract between the kernels and everything above them: one KernelTable per ISA, one Kernel per
// operation.
//
// An operation is described by a Shape (what is known when weights are packed) and Args (what is known when
// it runs). Weights are packed once, by the table that will use them, into memory that the caller owns. A run
// computes a Range of its work units with scratch memory that the caller owns, so that threads share nothing.
//
// E below is the table's element type (`KernelTable::element`); maps hold E. The transformer's residual
// stream is float in every table. silu(x) = x / (1 + exp(-x)) for x above -2^100; below that it is not zero.
#pragma once

#include "base/view.h"

namespace mvf {

enum class Activation { kNone, kSilu };

// Packed weights and scratch memory start at a multiple of this many bytes.
constexpr size_t kAlignment = 64;

// ---- linear: a 1x1 convolution or a fully connected layer -----------------------------------------------
// output[m, n] = activation(bias[n] + sum_k a[m, k] * weight[n, k]) + residual[m, n]
// a = input, or, with `normalize`, a[m, :] = (input[m, :] - mean_m) / sqrt(var_m + epsilon): a layer norm
// whose scale and shift are folded into weight and bias.
struct LinearShape {
  int64_t in = 0;
  int64_t out = 0;
  Activation activation = Activation::kNone;
  bool normalize = false;  // input rows are float and are normalised first
  float epsilon = 1e-5f;
};
struct LinearWeights {
  const float* weight = nullptr;  // [out][in]
  const float* bias = nullptr;    // [out], or null for zeros
};
struct LinearArgs {
  LinearShape shape;
  const void* packed = nullptr;
  int64_t rows = 0;             // work units
  const void* input = nullptr;  // [rows][in], E, or float with `normalize`
  int64_t input_stride = 0;
  void* output = nullptr;  // [rows][out], E, or float with `float_output`; may be the residual itself
  int64_t output_stride = 0;
  bool float_output = false;
  const void* residual = nullptr;  // [rows][out] of the output's type, or null
  int64_t residual_stride = 0;
};

// ---- ffn: a transformer layer's second half, in place ---------------------------------------------------
// stream[m, :] += down * silu(up * normalize(stream[m, :]) + up_bias) + down_bias
struct FfnShape {
  int64_t dim = 0;
  int64_t hidden = 0;
  float epsilon = 1e-5f;
};
struct FfnWeights {
  LinearWeights up;    // [hidden][dim], the layer norm's scale and shift folded in
  LinearWeights down;  // [dim][hidden]
};
struct FfnArgs {
  FfnShape shape;
  const void* packed = nullptr;
  int64_t rows = 0;         // work units
  float* stream = nullptr;  // [rows][dim]
  int64_t stream_stride = 0;
};

// ---- conv3x3: dense, zero padding 1 ---------------------------------------------------------------------
// output[y, x, n] = activation(bias[n] + sum_{i, j, c} in[s*y + i - 1, s*x + j - 1, c] * weight[n, i, j, c])
// in = input's channels followed by second's: a concatenation that is never made.
// Winograd F(m x m, 3x3) after Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"; stride 1
// only.
enum class ConvAlgorithm { kDirect, kWinograd2, kWinograd4 };
struct Conv3x3Shape {
  int64_t in = 0;
  int64_t in_second = 0;  // 0: one input
  int64_t out = 0;
  int64_t stride = 1;  // 1 or 2
  Activation activation = Activation::kNone;
  ConvAlgorithm algorithm = ConvAlgorithm::kDirect;
};
struct Conv3x3Weights {
  const float* weight = nullptr;  // [out][3][3][in + in_second]
  const float* bias = nullptr;    // [out], or null for zeros
};
struct Conv3x3Args {
  Conv3x3Shape shape;
  const void* packed = nullptr;
  Map input;   // E
  Map second;  // E, same height and width; ignored where in_second is 0
  Map output;  // E; its rows are the work units
};

// ---- stem: the same convolution (direct, one input) on a float image of any strides --------------------
struct StemArgs {
  Conv3x3Shape shape;
  const void* packed = nullptr;
  Image input;
  Map output;  // E; its rows are the work units
};

// ---- dwconv3x3: depthwise, zero padding 1 ---------------------------------------------------------------
// output[y, x, c] = activation(bias[c] + sum_{i, j} input[s*y + i - 1, s*x + j - 1, c] * weight[i, j, c])
struct DwConv3x3Shape {
  int64_t channels = 0;
  int64_t stride = 1;  // 1 or 2
  Activation activation = Activation::kNone;
};
struct DwConv3x3Weights {
  const float* weight = nullptr;  // [3][3][channels]
  const float* bias = nullptr;    // [channels], or null for zeros
};
struct DwConv3x3Args {
  DwConv3x3Shape shape;
  const void* packed = nullptr;
  Map input;   // E
  Map output;  // E; its rows are the work units
};

// ---- inverted_residual: MobileNetV2's block with SiLU; the expanded map never exists in memory ----------
// e = silu(expand * input + expand_bias); d = silu(dwconv3x3(e, depthwise) + depthwise_bias)
// output = project * d + project_bias (+ input, with `residual`)
struct InvertedResidualShape {
  int64_t in = 0;
  int64_t expanded = 0;
  int64_t out = 0;
  int64_t stride = 1;     // 1 or 2
  bool residual = false;  // needs stride 1 and in == out
};
struct InvertedResidualWeights {
  LinearWeights expand;        // [expanded][in]
  DwConv3x3Weights depthwise;  // [3][3][expanded]
  LinearWeights project;       // [out][expanded]
};
struct InvertedResidualArgs {
  InvertedResidualShape shape;
  const void* packed = nullptr;
  Map input;   // E
  Map output;  // E; its rows are the work units
};

// ---- attention: multi-head self-attention among the pixels of equal position in their patch -------------
// Unfold and fold are strides: for each position (i, j) of a patch and each head, the tokens are the pixels
// (patch_height * r + i, patch_width * s + j).
// output_t = sum_u softmax_u(q_t . k_u / sqrt(head_dim)) * v_u
// Mehta and Rastegari, "MobileViT", section 3.1.
struct AttentionArgs {
  Map qkv;     // E, channels = 3 * dim: q of all heads, then k, then v
  Map output;  // E, channels = dim
  int64_t heads = 0;
  int64_t patch_height = 2;  // divides the map's height
  int64_t patch_width = 2;   // divides the map's width
  // Work units: (position, head) pairs, patch_height * patch_width * heads of them.
};

// ---- layer_norm: output[m, c] = (input[m, c] - mean_m) / sqrt(var_m + epsilon) * gamma[c] + beta[c] -----
struct LayerNormArgs {
  int64_t rows = 0;  // work units
  int64_t channels = 0;
  const float* input = nullptr;
  int64_t input_stride = 0;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  void* output = nullptr;  // E
  int64_t output_stride = 0;
  float epsilon = 1e-5f;
};

// ---- resize: bilinear, half-pixel centres, edges clamped (torch's align_corners=False) ------------------
// Each output pixel blends the four input pixels around ((x + 0.5) * in_size / out_size - 0.5).
struct ResizeArgs {
  Map input;
  Map output;  // same channels; its rows are the work units
  DType type = DType::kF32;
};

// ---- global_pool: output[c] = mean over the pixels of input[y, x, c]; channels are the work units -------
struct GlobalPoolArgs {
  Map input;               // E
  void* output = nullptr;  // [channels], E, or float with `float_output`
  bool float_output = false;
};

// ---- softmax: output[m, c] = exp(input[m, c] - max_m) / sum_c exp(input[m, c] - max_m) ------------------
struct SoftmaxArgs {
  int64_t rows = 0;  // work units
  int64_t columns = 0;
  const float* input = nullptr;
  int64_t input_stride = 0;
  float* output = nullptr;
  int64_t output_stride = 0;
};

// An operation with weights. `pack` writes packed_bytes(shape) bytes.
template <class Shape, class Weights>
struct Packing {
  size_t (*packed_bytes)(const Shape&);
  void (*pack)(const Shape&, const Weights&, void* packed);
};
// An operation's loop. `run` uses scratch_bytes(args) bytes of scratch; units are clamped by the caller.
template <class Args>
struct Kernel {
  size_t (*scratch_bytes)(const Args&);
  void (*run)(const Args&, Range units, void* scratch);
};

struct Int8Kernels;      // int8_kernels.h
struct TrainingKernels;  // training_kernels.h

struct KernelTable {
  const char* name;  // the ISA's name, as MOBILEVIT_FAST_ISA takes it
  DType element;
  Packing<LinearShape, LinearWeights> linear_packing;
  Kernel<LinearArgs> linear;
  Packing<FfnShape, FfnWeights> ffn_packing;
  Kernel<FfnArgs> ffn;
  Packing<Conv3x3Shape, Conv3x3Weights> conv3x3_packing;
  Kernel<Conv3x3Args> conv3x3;
  Packing<Conv3x3Shape, Conv3x3Weights> stem_packing;
  Kernel<StemArgs> stem;
  Packing<DwConv3x3Shape, DwConv3x3Weights> dwconv3x3_packing;
  Kernel<DwConv3x3Args> dwconv3x3;
  Packing<InvertedResidualShape, InvertedResidualWeights> inverted_residual_packing;
  Kernel<InvertedResidualArgs> inverted_residual;
  Kernel<AttentionArgs> attention;
  Kernel<LayerNormArgs> layer_norm;
  Kernel<ResizeArgs> resize;
  Kernel<GlobalPoolArgs> global_pool;
  Kernel<SoftmaxArgs> softmax;
  const Int8Kernels* int8 = nullptr;          // or null where the table has none
  const TrainingKernels* training = nullptr;  // the same
};

}  // namespace mvf

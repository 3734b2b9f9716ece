// The contract of the 8-bit integer kernels, beside kernel_table.h's of the float ones.
//
// Activations are unsigned bytes, one scale and zero point for a tensor: real = scale * (q - zero_point).
// Weights are signed bytes, symmetric, one scale for an output channel. With q_in and w bytes,
//   sum[n] = bias[n] + sum_k (q_in[k] - input_zero) * w[n, k]                              exact in 32 bits
// and an Epilogue turns the sum into an output. The sums are equal on every ISA, and so are the outputs:
// an epilogue is one fused multiply-add and one rounding to the nearest even.
#pragma once

#include "base/view.h"
#include "kernels/kernel_table.h"

namespace mvf {

// q = table[clamp(round(fma(sum, multiplier[n], offset[n])), 0, 255)], without the table where it is null,
// for products that round to 32 bits; what becomes of others differs from table to table. multiplier[n] =
// input_scale * weight_scale[n] / output_scale; offset[n] = the output's zero point.
struct Requantization {
  const float* multiplier = nullptr;  // [out]
  const float* offset = nullptr;      // [out]
  const uint8_t* table = nullptr;     // [256]: SiLU, or any other function of one byte
};

// With no more inputs and no larger biases than these, no partial sum leaves 32 bits; nor do attention's sums
// over so many tokens.
constexpr int64_t kMaxInt8Inputs = 1 << 14;
constexpr int32_t kMaxInt8Bias = 1 << 29;
constexpr int64_t kMaxInt8Tokens = 1 << 16;

struct Int8Weights {
  const int8_t* weight = nullptr;  // [out][in], or as the shape says
  const int32_t* bias = nullptr;   // [out], or null for zeros
};

// ---- int8_linear ----------------------------------------------------------------------------------------
// How rows come in: bytes; or floats, quantised on the way with the shape's input_scale and input_zero; or
// floats, quantised with a scale and zero point of each row's own, from its least and greatest value and 0.
enum class Int8Input { kBytes, kStatic, kDynamic };
struct Int8LinearShape {
  int64_t in = 0;
  int64_t out = 0;
  Int8Input input = Int8Input::kBytes;
  float input_scale = 1.0f;  // kStatic
  int32_t input_zero = 0;    // kBytes, kStatic
  bool normalize = false;    // float rows are normalised first, as in LinearShape
  float epsilon = 1e-5f;
  bool float_output = false;
};
struct Int8LinearWeights {
  Int8Weights weights;            // [out][in]
  Requantization requantization;  // to bytes; for float output: output[m, n] = sum * multiplier[n] +
                                  // offset[n], and with kDynamic multiplier is the weight's scale alone
  Activation activation = Activation::kNone;  // of float output
};
struct Int8LinearArgs {
  Int8LinearShape shape;
  const void* packed = nullptr;
  int64_t rows = 0;             // work units
  const void* input = nullptr;  // [rows][in], bytes or float
  int64_t input_stride = 0;
  void* output = nullptr;  // [rows][out], bytes or float; float output may be the residual itself
  int64_t output_stride = 0;
  const float* residual = nullptr;  // [rows][out], float output only, or null
  int64_t residual_stride = 0;
  int32_t* sums = nullptr;  // [rows][out] dense: where given, the sums are written and nothing else (tests)
};

// ---- int8_ffn: stream += down(table(up(quantise(normalise(stream))))) ----------------------------------
struct Int8FfnShape {
  int64_t dim = 0;
  int64_t hidden = 0;
  float input_scale = 1.0f;  // of the normalised rows
  int32_t input_zero = 0;
  int32_t hidden_zero = 0;  // of the bytes that the table gives
  float epsilon = 1e-5f;
};
struct Int8FfnWeights {
  Int8Weights up;
  Requantization up_requantization;  // with the SiLU table
  Int8Weights down;
  const float* down_multiplier = nullptr;  // [dim], to float
};
struct Int8FfnArgs {
  Int8FfnShape shape;
  const void* packed = nullptr;
  int64_t rows = 0;  // work units
  float* stream = nullptr;
  int64_t stream_stride = 0;
};

// ---- int8_conv3x3 and int8_stem: zero padding 1, which is the input's zero point -----------------------
// The two inputs of a concatenation have zero points of their own; their scales differ where the weights of
// the second half were multiplied by (second scale / first scale) before they were quantised.
struct Int8Conv3x3Shape {
  int64_t in = 0;
  int64_t in_second = 0;
  int64_t out = 0;
  int64_t stride = 1;
  int32_t input_zero = 0;
  int32_t second_zero = 0;
  float input_scale = 1.0f;  // int8_stem: how the float image is quantised
};
struct Int8Conv3x3Weights {
  Int8Weights weights;  // [out][3][3][in + in_second]
  Requantization requantization;
};
struct Int8Conv3x3Args {
  Int8Conv3x3Shape shape;
  const void* packed = nullptr;
  Map input;  // bytes
  Map second;
  Map output;  // bytes; its rows are the work units
};
struct Int8StemArgs {
  Int8Conv3x3Shape shape;
  const void* packed = nullptr;  // by int8_stem's own packing
  Image input;
  Map output;
};

// ---- int8_dwconv3x3 -------------------------------------------------------------------------------------
struct Int8DwConv3x3Shape {
  int64_t channels = 0;
  int64_t stride = 1;
  int32_t input_zero = 0;
};
struct Int8DwConv3x3Weights {
  Int8Weights weights;  // [3][3][channels]
  Requantization requantization;
};
struct Int8DwConv3x3Args {
  Int8DwConv3x3Shape shape;
  const void* packed = nullptr;
  Map input;
  Map output;
};

// ---- int8_inverted_residual -----------------------------------------------------------------------------
// With `residual` the output is clamp(round(fma(q_in, residual_multiplier, fma(sum, multiplier[n],
// offset[n])))), and offset[n] holds the output's zero point less input_zero * residual_multiplier.
struct Int8InvertedResidualShape {
  int64_t in = 0;
  int64_t expanded = 0;
  int64_t out = 0;
  int64_t stride = 1;
  bool residual = false;
  int32_t input_zero = 0;
  int32_t expanded_zero = 0;   // of the bytes that the expansion's table gives; the depthwise padding
  int32_t depthwise_zero = 0;  // of the bytes that the depthwise table gives
  float residual_multiplier = 0.0f;
};
struct Int8InvertedResidualWeights {
  Int8Weights expand;
  Requantization expand_requantization;
  Int8Weights depthwise;  // [3][3][expanded]
  Requantization depthwise_requantization;
  Int8Weights project;
  Requantization project_requantization;
};
struct Int8InvertedResidualArgs {
  Int8InvertedResidualShape shape;
  const void* packed = nullptr;
  Map input;
  Map output;  // its rows are the work units
};

// ---- int8_attention -------------------------------------------------------------------------------------
// q, k and v are bytes around 128 with a scale each. For each position of a patch, head and query t
//   score_u = sum_c (q[t, c] - 128) * (k[u, c] - 128)                                   exact in 32 bits
//   p_u = 255 * exp(score_scale * (score_u - max score)), rounded to 8 bits: the distance is rounded to a
//   2048th of an octave, and its power of two is int8_exp2-inl.h's
//   output = clamp(round(fma(sum_u p_u * (v[u, c] - 128), output_multiplier / sum_u p_u, output_zero)))
// Sums of up to 2^16 tokens and channels fit.
struct Int8AttentionArgs {
  Map qkv;     // bytes, channels = 3 * dim
  Map output;  // bytes, channels = dim
  int64_t heads = 0;
  int64_t patch_height = 2;
  int64_t patch_width = 2;
  float score_scale = 1.0f;        // q_scale * k_scale / sqrt(head_dim), positive
  float output_multiplier = 1.0f;  // v_scale / output_scale
  int32_t output_zero = 0;
  // Work units: (position, head) pairs.
};

// ---- small ones -----------------------------------------------------------------------------------------
// bytes[m, c] = clamp(round(values[m, c] / scale) + zero), and values = scale * (bytes - zero)
struct QuantizeArgs {
  int64_t rows = 0;  // work units
  int64_t channels = 0;
  float* values = nullptr;
  int64_t values_stride = 0;
  uint8_t* bytes = nullptr;
  int64_t bytes_stride = 0;
  float scale = 1.0f;
  int32_t zero = 0;
};
// Layer norm as in LayerNormArgs, its output quantised.
struct Int8LayerNormArgs {
  LayerNormArgs norm;  // output: bytes
  float scale = 1.0f;
  int32_t zero = 0;
};
// output[c] = scale * (mean over the pixels of input - zero), float
struct Int8GlobalPoolArgs {
  Map input;
  float* output = nullptr;
  float scale = 1.0f;
  int32_t zero = 0;
};

struct Int8Kernels {
  Packing<Int8LinearShape, Int8LinearWeights> linear_packing;
  Kernel<Int8LinearArgs> linear;
  Packing<Int8FfnShape, Int8FfnWeights> ffn_packing;
  Kernel<Int8FfnArgs> ffn;
  Packing<Int8Conv3x3Shape, Int8Conv3x3Weights> conv3x3_packing;
  Kernel<Int8Conv3x3Args> conv3x3;
  Packing<Int8Conv3x3Shape, Int8Conv3x3Weights> stem_packing;
  Kernel<Int8StemArgs> stem;
  Packing<Int8DwConv3x3Shape, Int8DwConv3x3Weights> dwconv3x3_packing;
  Kernel<Int8DwConv3x3Args> dwconv3x3;
  Packing<Int8InvertedResidualShape, Int8InvertedResidualWeights> inverted_residual_packing;
  Kernel<Int8InvertedResidualArgs> inverted_residual;
  Kernel<Int8AttentionArgs> attention;
  Kernel<QuantizeArgs> quantize;
  Kernel<QuantizeArgs> dequantize;
  Kernel<Int8LayerNormArgs> layer_norm;
  Kernel<ResizeArgs> resize;  // bytes, rounded
  Kernel<Int8GlobalPoolArgs> global_pool;
};

}  // namespace mvf

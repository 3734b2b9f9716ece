// plan_reader.h's part for the steps on bytes, and what both parts read alike. The keys of each kind, beside
// "kind" and "name":
//
//   int8_stem               output, conv, conv_weights
//   int8_inverted_residual  input, output, inverted_residual: {in, expanded, out, stride, residual=False,
//                           input_zero, expanded_zero, depthwise_zero, residual_multiplier=0},
//                           inverted_residual_weights: {expand, depthwise, project}
//   int8_conv3x3            input, second_input=-1, output, conv, conv_weights
//   int8_linear             input, residual=-1, output, linear: {in, out, input="bytes", input_scale=1,
//                           input_zero=0, normalize=False, epsilon=1e-5, float_output=False,
//                           activation="none"}, linear_weights
//   int8_ffn                input, output (the same tensor), ffn: {dim, hidden, input_scale, input_zero,
//                           hidden_zero, epsilon=1e-5}, ffn_weights: {up, down: {weight, bias, multiplier}}
//   int8_attention          input, output, heads, patch_height=2, patch_width=2, score_scale,
//                           output_multiplier, zero
//   int8_layer_norm         input, output, gamma [channels], beta [channels], epsilon=1e-5, scale, zero
//   int8_global_pool        input, output, scale, zero
//   quantize, dequantize    input, output, scale, zero
//
// conv is {in, in_second=0, out, stride=1, input_zero, second_zero=0, input_scale=1}; a linear's input is
// "bytes", "static" or "dynamic". A set of weights is {weight int8, bias int32 or none for zeros,
// multiplier float32 [out], offset float32 [out], table uint8 [256] or none}, its shapes as in plan_reader.h.
// int8_kernels.h says what the numbers mean.
//
// Inputs and outputs have type "bytes", except that those of int8_ffn and the inputs of int8_layer_norm are
// "float", and that the other float sides (a linear's, a pool's output, quantize's input, dequantize's
// output) are "element" or "float".
#pragma once

#include "engine/data_map.h"
#include "engine/plan.h"

namespace mvf {

// All keys of a step on bytes but its input, its output and a layer norm's weights.
void ReadInt8Fields(DataMap& reader, Step& step);

// The keys scale and zero.
void ReadGrid(DataMap& reader, Step& step);

// The key activation, "none" where it is missing; a tensor's index, -1 where it is missing; patch_height and
// patch_width.
Activation ReadActivation(DataMap& reader);
int ReadOptionalTensor(DataMap& reader, const char* key);
void ReadPatch(DataMap& reader, Step& step);

}  // namespace mvf

// Reads a plan from a tree of data: plan.h, field by field.
//
// plan = {"tensors": [{"channels": int, "type": str}, ...],
//         "steps":   [{"kind": str, "name": str, ...}, ...],     in execution order; the first is the stem
//         "outputs": [int, ...],                                 tensors that run() hands out
//         "image_channels": int}                                 optional, 3
//
// Tensors are named by their place in the list; -1 is none. Their type is "element" (the default), what the
// kernel table computes in; "float", float32 in every precision: the transformer's stream and logits; or
// "bytes". The keys of each kind, beside "kind" and "name" ("=" gives the default of a key that may be
// missing; a key that is not listed is refused):
//
//   stem               output, conv, conv_weights
//   inverted_residual  input, output, inverted_residual: {in, expanded, out, stride, residual=False},
//                      inverted_residual_weights: {expand, depthwise, project}
//   conv3x3            input, second_input=-1, output, conv, conv_weights
//   linear             input, residual=-1, output, linear: {in, out, activation="none", normalize=False,
//                      epsilon=1e-5}, linear_weights
//   ffn                input, output (the same tensor), ffn: {dim, hidden, epsilon=1e-5}, ffn_weights:
//                      {up, down}
//   attention          input (q, k and v: three times the output's channels), output, heads, patch_height=2,
//                      patch_width=2
//   layer_norm         input, output, gamma [channels], beta [channels], epsilon=1e-5
//   resize_to_patch    input, output, patch_height=2, patch_width=2
//   resize_like        input, like, output
//   global_pool        input, output
//
// conv is {in, in_second=0, out, stride=1, activation="none", algorithm="direct"}. activation is "none" or
// "silu"; algorithm "direct", "winograd2" or "winograd4" (stride 1). Every set of weights is {weight, bias},
// float32 arrays, bias none for zeros: conv_weights [out, 3, 3, in + in_second], depthwise [3, 3, expanded],
// all others [out, in].
//
// What types must be: float for the input of ffn, layer_norm and a normalizing linear; element or float for
// the outputs of linear and global_pool; equal for a linear's residual and output, and for a resize's input
// and output; element elsewhere. int8_plan_reader.h lists the kinds of steps that work on bytes.
#pragma once

#include <memory>
#include <string>

#include "engine/data_value.h"
#include "engine/plan.h"

namespace mvf {

// The plan points into the arrays of `plan`. Throws, naming the step and the key, for a key that is missing,
// unknown or of another type or shape; the plan's structure is the engine's to check.
Plan ReadPlan(std::unique_ptr<DataValue> plan);

// "direct", "winograd2" or "winograd4"; `name` opens the message.
ConvAlgorithm AlgorithmCalled(const std::string& algorithm, const std::string& name);

}  // namespace mvf

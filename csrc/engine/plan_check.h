// Refuses a plan that the engine could not run, before any of its weights is packed.
#pragma once

#include <vector>

#include "engine/plan.h"

namespace mvf {

// How messages and profiles call a kind: "inverted_residual", "linear", ...
const char* NameOf(StepKind kind);

// "element", "float" or "bytes"
const char* NameOf(TensorType type);

// "step 3 (linear 'classifier')"
std::string Describe(const Plan& plan, size_t step);

// What a plan's structure tells without a size.
struct PlanFacts {
  std::vector<bool>
      is_vector;  // for each tensor: one pixel whatever the image's size, as global_pool leaves it
};

// Throws std::invalid_argument that names the step and what is wrong with it: a tensor's index, its channels
// or type, a tensor read before it is written or written twice (a step may work in place only on ffn's stream
// and linear's residual), a first step that is not the stem, impossible strides, heads or patches, missing
// weights.
PlanFacts CheckPlan(const Plan& plan);

// The same, and for a step whose kernel that table lacks.
PlanFacts CheckPlan(const Plan& plan, const KernelTable& table);

}  // namespace mvf

// All weights of a plan, packed once for one table into one buffer in execution order, so that a run streams
// through it forwards.
#pragma once

#include <vector>

#include "base/memory.h"
#include "engine/plan.h"

namespace mvf {

struct StepWeights {
  const void* packed = nullptr;
  const float* gamma = nullptr;  // kLayerNorm
  const float* beta = nullptr;
  size_t bytes = 0;
};

class PackedWeights {
 public:
  PackedWeights(const Plan& plan, const KernelTable& table);

  const StepWeights& of(size_t step) const { return steps_[step]; }
  size_t bytes() const { return buffer_.size(); }

 private:
  AlignedBuffer buffer_;
  std::vector<StepWeights> steps_;
};

}  // namespace mvf

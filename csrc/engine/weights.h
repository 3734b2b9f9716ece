// All weights of a plan, packed once for one table into one buffer in execution order, so that a run streams
// through it forwards.
#pragma once

#include <vector>

#include "base/memory.h"
#include "cuda/cuda_table.h"
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
  PackedWeights(const Plan& plan, const CudaTable& table);

  const StepWeights& of(size_t step) const { return steps_[step]; }
  const std::byte* data() const { return buffer_.data(); }
  size_t bytes() const { return bytes_; }

  // From now on points into `copy`, which holds the same bytes elsewhere, and keeps none itself.
  void MoveTo(const std::byte* copy);

 private:
  template <class Table>
  void Pack(const Plan& plan, const Table& table);

  AlignedBuffer buffer_;
  size_t bytes_ = 0;
  std::vector<StepWeights> steps_;
};

// Whoever owns packed weights keeps a plan that does not point to the caller's.
void ForgetWeights(Plan& plan);

}  // namespace mvf

// One image on its way through a program, and where its tensors lie.
#pragma once

#include "engine/plan.h"
#include "engine/program.h"
#include "engine/weights.h"

namespace mvf {

struct Frame {
  const Plan* plan = nullptr;
  const Program* program = nullptr;
  const PackedWeights* weights = nullptr;
  DType element = DType::kF32;
  std::byte* arena = nullptr;  // null where only sizes are asked
  Image image;
};

// A tensor of the frame, dense.
Map TensorMap(const Frame& frame, int tensor);

// The same seen as rows of a matrix: its pixels, one after another.
struct Rows {
  void* data;
  int64_t count;
  int64_t stride;
};
Rows TensorRows(const Frame& frame, int tensor);

}  // namespace mvf

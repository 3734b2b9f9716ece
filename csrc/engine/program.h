// A plan for images of one size: every tensor's shape and place in the arena.
#pragma once

#include <vector>

#include "engine/plan.h"
#include "engine/plan_check.h"

namespace mvf {

struct TensorPlace {
  int64_t height = 0;
  int64_t width = 0;
  size_t bytes = 0;
  size_t offset = 0;  // in the arena
};

struct Program {
  int64_t height = 0;  // of the image
  int64_t width = 0;
  std::vector<TensorPlace> tensors;
  std::vector<bool> skipped;  // steps whose output is their input: resizes to the size that there is
  size_t arena_bytes = 0;
  size_t naive_bytes = 0;    // what the tensors would take without sharing
  size_t scratch_bytes = 0;  // of one thread, for the step that needs most; the engine fills it in
};

// Channels x height x width of a tensor.
int64_t ElementsOf(const Plan& plan, const Program& program, int tensor);

// Throws std::invalid_argument where the plan cannot take an image of that size (a patch that does not divide
// a map, maps of different sizes added or concatenated), OutOfMemory where no memory could hold it.
Program BuildProgram(const Plan& plan, DType element, int64_t height, int64_t width);

}  // namespace mvf

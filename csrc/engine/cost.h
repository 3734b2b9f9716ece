// What a step costs, counted rather than measured.
#pragma once

#include "engine/bind.h"

namespace mvf {

struct Cost {
  int64_t macs = 0;  // multiply-accumulates of the operation as defined, whatever algorithm computes it
  size_t bytes = 0;  // weights, inputs and outputs, each touched once
};

Cost CostOf(const Frame& frame, size_t step);

}  // namespace mvf

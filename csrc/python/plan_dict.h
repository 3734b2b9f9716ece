// A plan in Python's dicts, lists and NumPy arrays, as engine/plan_reader.h describes it; and the rule by
// which images are prepared.
#pragma once

#include <vector>

#include "engine/plan.h"
#include "image/rule.h"
#include "python/arrays.h"

namespace mvf {

struct PlanWithArrays {
  Plan plan;
  std::vector<py::array> arrays;  // what the plan's weights point into
};

// Throws TypeError or ValueError that names the step and the key.
PlanWithArrays ReadPlanDict(py::handle plan);

// What Preprocessing.to_dict() gives. Throws TypeError or ValueError that names the key.
ImageRule ReadRuleDict(py::handle rule);

}  // namespace mvf

// plan_check.h's part for the steps on bytes.
#pragma once

#include "engine/step_checker.h"

namespace mvf {

// Checks a step on bytes and marks what it writes.
void CheckInt8Step(StepChecker& check, const Step& step);

// Throws std::invalid_argument for a step that works on bytes where the table has no kernel for it.
void CheckInt8Kernels(const Plan& plan, const KernelTable& table);

}  // namespace mvf

// What one core can do at best, measured: the yardstick for a profile.
#pragma once

#include "kernels/kernel_table.h"

namespace mvf {

// Multiply-accumulates a second of the calling thread, at best within about `seconds`, on a matrix product of
// the table's own elements whose operands stay in the caches.
double MeasurePeak(const KernelTable& table, double seconds);

// The same of bytes; the table must have 8-bit kernels.
double MeasureInt8Peak(const KernelTable& table, double seconds);

}  // namespace mvf

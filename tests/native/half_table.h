// The half-precision table behind the interface of a table of floats, so that whatever tests those tests it.
#pragma once

#include <vector>

#include "kernels/kernel_table.h"

namespace mvf_test {

// Every table of floats that can run here and, behind floats, that of halves: maps of elements are rounded on
// their way in and widened on their way out, in memory of exactly their size and with their strides.
std::vector<const mvf::KernelTable*> TablesOfFloats();

// How far a table may be off where a table of floats may be off by `tolerance`.
double ToleranceOf(const mvf::KernelTable& table, double tolerance);

// Of what magnitude a table's numbers are at least, where its errors are measured by their largest: sums of
// halves that cancel out have the errors of their parts.
double MagnitudeOf(const mvf::KernelTable& table);

}  // namespace mvf_test

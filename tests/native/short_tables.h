// The tables of short floats behind the interface of a table of floats, so that whatever tests those tests
// them; and those on AMX with registers in memory, for processors that have none.
#pragma once

#include <vector>

#include "kernels/kernel_table.h"

namespace mvf_test {

// Every table of floats that can run here, and that of 8-bit kernels on AMX in any case where AVX-512 is.
std::vector<const mvf::KernelTable*> RunnableOrEmulatedTables();

// The same and, behind floats, those of short floats: maps of elements are rounded on their way in and
// widened on their way out, in memory of exactly their size and with their strides.
std::vector<const mvf::KernelTable*> TablesOfFloats();

// How far a table may be off where a table of floats may be off by `tolerance`.
double ToleranceOf(const mvf::KernelTable& table, double tolerance);

// Of what magnitude a table's numbers are at least, where its errors are measured by their largest: sums of
// short floats that cancel out have the errors of their parts.
double MagnitudeOf(const mvf::KernelTable& table);

// The largest number that a table's elements hold.
double LargestOf(const mvf::KernelTable& table);

}  // namespace mvf_test

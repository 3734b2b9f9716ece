// Which kernel table runs: the names, in order, and the choice among those that this machine can run.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace mvf {

// One for each ISA, each in its own file with its own compiler flags.
const KernelTable* ScalarTable();
const KernelTable* Avx2Table();
const KernelTable* Avx512Table();

// Tables that this CPU can run, slowest first, up to the one that the environment variable MOBILEVIT_FAST_ISA
// names. Throws std::invalid_argument where that is no table's name.
std::vector<const KernelTable*> RunnableTables();

// The fastest of them.
const KernelTable& BestTable();

// The one of that name. Throws std::invalid_argument, with the reason, where it is not among them.
const KernelTable& TableByName(const std::string& name);

}  // namespace mvf

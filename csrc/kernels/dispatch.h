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
const KernelTable* Avx512VnniTable();
const KernelTable* Avx512Bf16Table();

// Tables of one element type that this CPU can run, slowest first, up to the one that the environment
// variable MOBILEVIT_FAST_ISA names. Throws std::invalid_argument where that is no table's name.
std::vector<const KernelTable*> RunnableTables(DType element = DType::kF32);

// The fastest of them. Throws std::invalid_argument, with what is missing, where there is none.
const KernelTable& BestTable(DType element = DType::kF32);

// The one of that name. Throws std::invalid_argument, with the reason, where it cannot run or holds elements
// of another type.
const KernelTable& TableByName(const std::string& name, DType element = DType::kF32);

}  // namespace mvf

// Which kernel table runs: the names, in order, and the choice among those that this machine can run.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace mvf {

// One for each ISA, each in its own file with its own compiler flags.
const KernelTable* ScalarTable();
const KernelTable* Avx2Table();
const KernelTable* AvxVnniTable();
const KernelTable* Avx512Table();
const KernelTable* Avx512CascadelakeTable();
const KernelTable* Avx512VnniTable();
const KernelTable* Avx512Bf16Table();
const KernelTable* AmxBf16Table();
const KernelTable* AmxInt8Table();
const KernelTable* NeonTable();
const KernelTable* NeonFp16Table();
const KernelTable* NeonDotprodTable();
const KernelTable* NeonI8mmTable();

// What a network computes in: kInt8 takes a table of float elements that has 8-bit kernels beside them.
enum class Precision { kFp32, kBf16, kFp16, kInt8 };

constexpr DType ElementOf(Precision precision) {
  if (precision == Precision::kBf16) return DType::kBf16;
  return precision == Precision::kFp16 ? DType::kF16 : DType::kF32;
}

// Tables for one precision that this CPU can run, slowest first, up to the one that the environment
// variable MOBILEVIT_FAST_ISA names. Throws std::invalid_argument where that is no table's name.
std::vector<const KernelTable*> RunnableTables(Precision precision = Precision::kFp32);

// The fastest of them. Throws std::invalid_argument, with what is missing, where there is none.
const KernelTable& BestTable(Precision precision = Precision::kFp32);

// The one of that name. Throws std::invalid_argument, with the reason, where it cannot run or is not for that
// precision.
const KernelTable& TableByName(const std::string& name, Precision precision = Precision::kFp32);

}  // namespace mvf

// A kernel table of plain loops with sums in double: what the other tables and the engine are held against.
#pragma once

#include "kernels/kernel_table.h"

namespace mvf_test {

const mvf::KernelTable& PlainTable();

}  // namespace mvf_test

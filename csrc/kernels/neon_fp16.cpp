// The half-precision table on NEON. Compiled with its flag: nothing but NeonFp16Table may leave this file.
#include "kernels/dispatch.h"

// The vector types, then what is written over them.
// clang-format off
#include "kernels/vec_neon_fp16-inl.h"
#include "kernels/math-inl.h"
#include "kernels/row_units-inl.h"
#include "kernels/dot_f16-inl.h"
#include "kernels/table-inl.h"
// clang-format on

namespace mvf {

namespace {

KernelTable WithFloatSoftmax(KernelTable table) {
  table.softmax = NeonTable()->softmax;
  return table;
}

}  // namespace

const KernelTable* NeonFp16Table() {
  static const KernelTable table = WithFloatSoftmax(MakeTable<DotF16>("neon_fp16"));
  return &table;
}

}  // namespace mvf

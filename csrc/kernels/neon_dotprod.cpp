// The NEON table with 8-bit kernels by sdot. Compiled with its flag: nothing but NeonDotprodTable may leave
// this file.
#include "kernels/dispatch.h"
#include "kernels/int8_kernels.h"

// The vector types, then what is written over them.
// clang-format off
#include "kernels/vec_neon-inl.h"
#include "kernels/math-inl.h"
#include "kernels/dot_f32-inl.h"
#include "kernels/row_units_neon-inl.h"
#include "kernels/table-inl.h"
#include "kernels/int8_vec_neon-inl.h"
#include "kernels/int8_dot_dotprod-inl.h"
#include "kernels/int8_attention_neon-inl.h"
#include "kernels/int8_weighted_sums_signed-inl.h"
#include "kernels/int8_table-inl.h"
// clang-format on

namespace mvf {
namespace {

KernelTable WithDot(KernelTable table) {
  static constexpr Int8Kernels int8 = MakeInt8Kernels();
  table.name = "neon_dotprod";
  table.int8 = &int8;
  return table;
}

}  // namespace

const KernelTable* NeonDotprodTable() {
  static const KernelTable table = WithDot(*NeonTable());
  return &table;
}

}  // namespace mvf

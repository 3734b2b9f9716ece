// The table in plain C++, for a processor without one of its own.
#include "kernels/dispatch.h"

// The vector type, then what is written over it.
// clang-format off
#include "kernels/vec_scalar-inl.h"
#include "kernels/math-inl.h"
#include "kernels/dot_f32-inl.h"
#include "kernels/table-inl.h"
// clang-format on

namespace mvf {

const KernelTable* ScalarTable() {
  static constexpr KernelTable table = MakeTable<DotF32>("scalar");
  return &table;
}

}  // namespace mvf

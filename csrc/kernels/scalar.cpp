// The table in plain C++, for a processor without one of its own.
#include "kernels/dispatch.h"
#include "kernels/int8_kernels.h"
#include "kernels/training_kernels.h"

// The vector type, then what is written over it.
// clang-format off
#include "kernels/vec_scalar-inl.h"
#include "kernels/math-inl.h"
#include "kernels/dot_f32-inl.h"
#include "kernels/table-inl.h"
#include "kernels/training_table-inl.h"
#include "kernels/int8_vec_scalar-inl.h"
#include "kernels/int8_attention_scalar-inl.h"
#include "kernels/int8_table-inl.h"
// clang-format on

namespace mvf {

const KernelTable* ScalarTable() {
  static constexpr Int8Kernels int8 = MakeInt8Kernels();
  static constexpr TrainingKernels training = MakeTrainingKernels();
  static constexpr KernelTable table = MakeTable<DotF32>("scalar", &int8, &training);
  return &table;
}

}  // namespace mvf

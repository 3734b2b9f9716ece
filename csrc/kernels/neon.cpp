// The NEON table, for every 64-bit ARM processor.
#include "kernels/dispatch.h"
#include "kernels/int8_kernels.h"
#include "kernels/training_kernels.h"

// The vector types, then what is written over them.
// clang-format off
#include "kernels/vec_neon-inl.h"
#include "kernels/math-inl.h"
#include "kernels/dot_f32-inl.h"
#include "kernels/row_units_neon-inl.h"
#include "kernels/table-inl.h"
#if !defined(MVF_INFERENCE_ONLY)
#include "kernels/training_table-inl.h"
#endif
#include "kernels/int8_vec_neon-inl.h"
#include "kernels/int8_dot_neon-inl.h"
#include "kernels/int8_attention_neon-inl.h"
#include "kernels/int8_weighted_sums_signed-inl.h"
#include "kernels/int8_table-inl.h"
// clang-format on

namespace mvf {

const KernelTable* NeonTable() {
  static constexpr Int8Kernels int8 = MakeInt8Kernels();
#if defined(MVF_INFERENCE_ONLY)
  static constexpr KernelTable table = MakeTable<DotF32>("neon", &int8);
#else
  static constexpr TrainingKernels training = MakeTrainingKernels();
  static constexpr KernelTable table = MakeTable<DotF32>("neon", &int8, &training);
#endif
  return &table;
}

}  // namespace mvf

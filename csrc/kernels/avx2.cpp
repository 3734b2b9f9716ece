// The AVX2 table. Compiled with AVX2, FMA and F16C flags: nothing but Avx2Table may leave this file.
#include "kernels/dispatch.h"
#include "kernels/int8_kernels.h"
#include "kernels/training_kernels.h"

// The vector type, then what is written over it.
// clang-format off
#include "kernels/vec_avx2-inl.h"
#include "kernels/math-inl.h"
#include "kernels/dot_f32-inl.h"
#include "kernels/table-inl.h"
#include "kernels/training_table-inl.h"
#include "kernels/int8_words-inl.h"
#include "kernels/int8_vec_avx2-inl.h"
#include "kernels/int8_dot_avx2-inl.h"
#include "kernels/int8_attention_avx2-inl.h"
#include "kernels/int8_table-inl.h"
// clang-format on

namespace mvf {

const KernelTable* Avx2Table() {
  static constexpr Int8Kernels int8 = MakeInt8Kernels();
  static constexpr TrainingKernels training = MakeTrainingKernels();
  static constexpr KernelTable table = MakeTable<DotF32>("avx2", &int8, &training);
  return &table;
}

}  // namespace mvf

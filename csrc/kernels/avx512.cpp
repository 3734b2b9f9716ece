// The AVX-512 table. Compiled with AVX-512 flags: nothing but Avx512Table may leave this file.
#include "kernels/dispatch.h"
#include "kernels/int8_kernels.h"
#include "kernels/training_kernels.h"

// The vector type, then what is written over it.
// clang-format off
#include "kernels/vec_avx512-inl.h"
#include "kernels/math-inl.h"
#include "kernels/dot_f32-inl.h"
#include "kernels/table-inl.h"
#include "kernels/training_table-inl.h"
#include "kernels/int8_words-inl.h"
#include "kernels/int8_vec_avx512-inl.h"
#include "kernels/int8_byte_table_avx512-inl.h"
#include "kernels/int8_dot_avx512-inl.h"
#include "kernels/int8_attention_avx512-inl.h"
#include "kernels/int8_table-inl.h"
// clang-format on

namespace mvf {

const KernelTable* Avx512Table() {
  static constexpr Int8Kernels int8 = MakeInt8Kernels();
  static constexpr TrainingKernels training = MakeTrainingKernels();
  static constexpr KernelTable table = MakeTable<DotF32>("avx512", &int8, &training);
  return &table;
}

}  // namespace mvf

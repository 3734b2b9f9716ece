// The bfloat16 table on AVX-512. Compiled with AVX-512 flags: nothing but Avx512Bf16Table may leave this
// file.
#include "kernels/dispatch.h"

// The vector type, then what is written over it.
// clang-format off
#include "kernels/vec_avx512-inl.h"
#include "kernels/math-inl.h"
#include "kernels/dot_f32-inl.h"
#include "kernels/dot_bf16-inl.h"
#include "kernels/table-inl.h"
// clang-format on

namespace mvf {

const KernelTable* Avx512Bf16Table() {
  static constexpr KernelTable table = MakeTable<DotBf16>("avx512_bf16");
  return &table;
}

}  // namespace mvf

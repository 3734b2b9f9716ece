// The AVX-VNNI table: the AVX2 one with 8-bit kernels by vpdpbusd, for processors without AVX-512. Compiled
// with AVX2, FMA, F16C and AVX-VNNI flags: nothing but AvxVnniTable may leave this file.
#include "kernels/dispatch.h"
#include "kernels/int8_kernels.h"

// The vector types, then what is written over them.
// clang-format off
#include "kernels/vec_avx2-inl.h"
#include "kernels/math-inl.h"
#include "kernels/dot_f32-inl.h"
#include "kernels/table-inl.h"
#include "kernels/int8_vec_avx2-inl.h"
#include "kernels/int8_dot_avx_vnni-inl.h"
#include "kernels/int8_attention_avx2-inl.h"
#include "kernels/int8_table-inl.h"
// clang-format on

namespace mvf {
namespace {

KernelTable WithVnni(KernelTable table) {
  static constexpr Int8Kernels int8 = MakeInt8Kernels();
  table.name = "avx_vnni";
  table.int8 = &int8;
  return table;
}

}  // namespace

const KernelTable* AvxVnniTable() {
  static const KernelTable table = WithVnni(*Avx2Table());
  return &table;
}

}  // namespace mvf

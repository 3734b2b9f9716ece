// The table of Cascade Lake and other processors with AVX-512 VNNI but without VBMI: the AVX-512 one with
// 8-bit kernels by vpdpbusd. Compiled with AVX-512 and VNNI flags: nothing but Avx512CascadelakeTable may
// leave this file.
#include "kernels/dispatch.h"
#include "kernels/int8_kernels.h"

// The vector types, then what is written over them.
// clang-format off
#include "kernels/vec_avx512-inl.h"
#include "kernels/math-inl.h"
#include "kernels/dot_f32-inl.h"
#include "kernels/table-inl.h"
#include "kernels/int8_vec_avx512-inl.h"
#include "kernels/int8_byte_table_avx512-inl.h"
#include "kernels/int8_dot_vnni-inl.h"
#include "kernels/int8_attention_avx512-inl.h"
#include "kernels/int8_table-inl.h"
// clang-format on

namespace mvf {
namespace {

KernelTable WithVnni(KernelTable table) {
  static constexpr Int8Kernels int8 = MakeInt8Kernels();
  table.name = "avx512_cascadelake";
  table.int8 = &int8;
  return table;
}

}  // namespace

const KernelTable* Avx512CascadelakeTable() {
  static const KernelTable table = WithVnni(*Avx512Table());
  return &table;
}

}  // namespace mvf

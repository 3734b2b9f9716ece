// The bfloat16 table on AMX: that of AVX-512, whose matrices are multiplied in whole tiles. Compiled with
// AVX-512 and AMX flags: nothing but AmxBf16Table may leave this file.
#include "kernels/dispatch.h"

// The vector type, then what is written over it.
// clang-format off
#include "kernels/vec_avx512-inl.h"
#include "kernels/math-inl.h"
#include "kernels/dot_f32-inl.h"
#include "kernels/dot_bf16-inl.h"
#include "kernels/amx_tiles-inl.h"
#include "kernels/amx_bf16_tiles-inl.h"
#include "kernels/table-inl.h"
#include "kernels/attention_rows-inl.h"
// clang-format on

namespace mvf {
namespace {

// What multiplies no matrices, and the packing of what does, is the vectors' own.
KernelTable WithTiles(KernelTable table) {
  table.name = "amx_bf16";
  table.linear.run = RunWithTiles<LinearArgs, LinearRun<DotBf16>>;
  table.ffn.run = RunWithTiles<FfnArgs, FfnRun<DotBf16>>;
  table.conv3x3_packing = {Conv3x3PackedBytes<DotBf16>, Conv3x3Pack<DotBf16>};
  table.conv3x3 = {Conv3x3ScratchBytes<DotBf16>, RunWithTiles<Conv3x3Args, Conv3x3Run<DotBf16>>};
  table.inverted_residual.run = RunWithTiles<InvertedResidualArgs, InvertedResidualRun<DotBf16>>;
  table.attention = {RowAttentionScratchBytes<DotBf16>,
                     RunWithTiles<AttentionArgs, RowAttentionRun<DotBf16>>};
  return table;
}

}  // namespace

const KernelTable* AmxBf16Table() {
  static const KernelTable table = WithTiles(*Avx512Bf16Table());
  return &table;
}

}  // namespace mvf

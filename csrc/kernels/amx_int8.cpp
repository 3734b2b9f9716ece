// The table with 8-bit kernels on AMX: the AVX-512 VNNI one, whose matrices are multiplied in whole tiles.
// Compiled with AVX-512, VNNI, VBMI and AMX flags: nothing but AmxInt8Table may leave this file.
#include "kernels/dispatch.h"
#include "kernels/int8_kernels.h"

// The vector types, then what is written over them.
// clang-format off
#include "kernels/vec_avx512-inl.h"
#include "kernels/math-inl.h"
#include "kernels/dot_f32-inl.h"
#include "kernels/table-inl.h"
#include "kernels/int8_vec_avx512-inl.h"
#include "kernels/int8_byte_table_vbmi-inl.h"
#include "kernels/int8_dot_vnni-inl.h"
#include "kernels/amx_tiles-inl.h"
#include "kernels/amx_int8_tiles-inl.h"
#include "kernels/int8_attention_avx512-inl.h"
#include "kernels/int8_table-inl.h"
// clang-format on

namespace mvf {
namespace {

// Tiles that are multiplied between vectors cost some 600 cycles a time, which few products do not repay:
// these are left to AVX-512 VNNI's kernels, whose packed weights and scratch memory are the same.
bool SuitsVectors(const Int8InvertedResidualArgs& args) {
  constexpr int64_t kOnePanel = kMaxPanelVectors * Vec::kLanes;
  return args.shape.out <= kOnePanel;
}
bool SuitsVectors(const Int8AttentionArgs& args) {
  constexpr int64_t kShortHead = 32;
  return args.output.channels / args.heads <= kShortHead;
}

template <class Args, void (*kRun)(const Args&, Range, void*), Kernel<Args> Int8Kernels::*kKernel>
void RunByTilesOrVectors(const Args& args, Range units, void* scratch) {
  if (SuitsVectors(args)) {
    (Avx512VnniTable()->int8->*kKernel).run(args, units, scratch);
  } else {
    RunWithTiles<Args, kRun>(args, units, scratch);
  }
}

constexpr Int8Kernels WithTiles(Int8Kernels kernels) {
  kernels.linear.run = RunWithTiles<Int8LinearArgs, Int8LinearRun>;
  kernels.ffn.run = RunWithTiles<Int8FfnArgs, Int8FfnRun>;
  kernels.conv3x3.run = RunWithTiles<Int8Conv3x3Args, Int8Conv3x3Run>;
  kernels.stem.run = RunWithTiles<Int8StemArgs, Int8StemRun>;
  kernels.inverted_residual.run =
      RunByTilesOrVectors<Int8InvertedResidualArgs, Int8InvertedResidualRun, &Int8Kernels::inverted_residual>;
  kernels.attention.run = RunByTilesOrVectors<Int8AttentionArgs, Int8AttentionRun, &Int8Kernels::attention>;
  return kernels;
}

KernelTable WithAmx(KernelTable table) {
  static constexpr Int8Kernels int8 = WithTiles(MakeInt8Kernels());
  table.name = "amx_int8";
  table.int8 = &int8;
  return table;
}

}  // namespace

const KernelTable* AmxInt8Table() {
  static const KernelTable table = WithAmx(*Avx512VnniTable());
  return &table;
}

}  // namespace mvf

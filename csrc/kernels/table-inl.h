// Fills a kernel table from the loops, for the vector type that the including file has chosen.
#pragma once

// Each builds on those before it.
// clang-format off
#include "kernels/panel-inl.h"
#include "kernels/tile-inl.h"
#include "kernels/matrix_tiles-inl.h"
#include "kernels/epilogue-inl.h"
#include "kernels/gemm-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/layer_norm-inl.h"
#include "kernels/linear-inl.h"
#include "kernels/ffn-inl.h"
#include "kernels/conv3x3_direct-inl.h"
#include "kernels/winograd_transform-inl.h"
#include "kernels/conv3x3_winograd-inl.h"
#include "kernels/conv3x3-inl.h"
#include "kernels/stem-inl.h"
#include "kernels/depthwise-inl.h"
#include "kernels/dwconv3x3-inl.h"
#include "kernels/inverted_residual_layout-inl.h"
#include "kernels/inverted_residual-inl.h"
#include "kernels/attention_tokens-inl.h"
#include "kernels/attention_tiles-inl.h"
#include "kernels/attention-inl.h"
#include "kernels/global_pool-inl.h"
#include "kernels/resize-inl.h"
#include "kernels/softmax-inl.h"
// clang-format on

namespace mvf {
namespace {

constexpr DType DTypeOf(float) { return DType::kF32; }
constexpr DType DTypeOf(Bf16) { return DType::kBf16; }
constexpr DType DTypeOf(Half) { return DType::kF16; }

template <class Dot>
constexpr KernelTable MakeTable(const char* name, const Int8Kernels* int8 = nullptr,
                                const TrainingKernels* training = nullptr) {
  KernelTable table = {};
  table.name = name;
  table.element = DTypeOf(typename Dot::Element{});
  table.linear_packing = {LinearPackedBytes<Dot>, LinearPack<Dot>};
  table.linear = {LinearScratchBytes<Dot>, LinearRun<Dot>};
  table.ffn_packing = {FfnPackedBytes<Dot>, FfnPack<Dot>};
  table.ffn = {FfnScratchBytes<Dot>, FfnRun<Dot>};
  table.conv3x3_packing = {Conv3x3PackedBytes<Dot>, Conv3x3Pack<Dot>};
  table.conv3x3 = {Conv3x3ScratchBytes<Dot>, Conv3x3Run<Dot>};
  table.stem_packing = {DirectPackedBytes<typename Dot::Image>, DirectPack<typename Dot::Image>};
  table.stem = {StemScratchBytes<Dot>, StemRun<Dot>};
  table.dwconv3x3_packing = {DwConv3x3PackedBytes, DwConv3x3Pack};
  table.dwconv3x3 = {DwConv3x3ScratchBytes<Dot>, DwConv3x3Run<Dot>};
  table.inverted_residual_packing = {InvertedResidualPackedBytes<Dot>, InvertedResidualPack<Dot>};
  table.inverted_residual = {InvertedResidualScratchBytes<Dot>, InvertedResidualRun<Dot>};
  table.attention = {AttentionScratchBytes<Dot>, AttentionRun<Dot>};
  table.layer_norm = {LayerNormScratchBytes<Dot>, LayerNormRun<Dot>};
  table.resize = {ResizeScratchBytes<Dot>, ResizeRun<Dot>};
  table.global_pool = {GlobalPoolScratchBytes<Dot>, GlobalPoolRun<Dot>};
  table.softmax = {SoftmaxScratchBytes<Dot>, SoftmaxRun<Dot>};
  table.int8 = int8;
  table.training = training;
  return table;
}

}  // namespace
}  // namespace mvf

// Fills the table of 8-bit kernels from the loops, for the vectors and the dot policy that the including file
// has chosen.
#pragma once

// Each builds on those before it.
// clang-format off
#include "kernels/int8_panel-inl.h"
#include "kernels/int8_epilogue-inl.h"
#include "kernels/int8_rows-inl.h"
#include "kernels/int8_linear-inl.h"
#include "kernels/int8_ffn-inl.h"
#include "kernels/int8_conv3x3-inl.h"
#include "kernels/int8_stem-inl.h"
#include "kernels/int8_depthwise-inl.h"
#include "kernels/int8_pixel_ring-inl.h"
#include "kernels/int8_dwconv3x3-inl.h"
#include "kernels/int8_inverted_residual_layout-inl.h"
#include "kernels/int8_inverted_residual-inl.h"
#include "kernels/int8_maps-inl.h"
#include "kernels/int8_attention_tiles-inl.h"
#include "kernels/int8_attention-inl.h"
// clang-format on

namespace mvf {
namespace {

constexpr Int8Kernels MakeInt8Kernels() {
  Int8Kernels kernels = {};
  kernels.linear_packing = {Int8LinearPackedBytes, Int8LinearPack};
  kernels.linear = {Int8LinearScratchBytes, Int8LinearRun};
  kernels.ffn_packing = {Int8FfnPackedBytes, Int8FfnPack};
  kernels.ffn = {Int8FfnScratchBytes, Int8FfnRun};
  kernels.conv3x3_packing = {Int8Conv3x3PackedBytes, Int8Conv3x3Pack};
  kernels.conv3x3 = {Int8Conv3x3ScratchBytes, Int8Conv3x3Run};
  kernels.stem_packing = {Int8Conv3x3PackedBytes, Int8Conv3x3Pack};
  kernels.stem = {Int8StemScratchBytes, Int8StemRun};
  kernels.dwconv3x3_packing = {Int8DwConv3x3PackedBytes, Int8DwConv3x3Pack};
  kernels.dwconv3x3 = {Int8DwConv3x3ScratchBytes, Int8DwConv3x3Run};
  kernels.inverted_residual_packing = {Int8InvertedResidualPackedBytes, Int8InvertedResidualPack};
  kernels.inverted_residual = {Int8InvertedResidualScratchBytes, Int8InvertedResidualRun};
  kernels.attention = {Int8AttentionScratchBytes, Int8AttentionRun};
  kernels.quantize = {NoScratch<QuantizeArgs>, QuantizeRun};
  kernels.dequantize = {NoScratch<QuantizeArgs>, DequantizeRun};
  kernels.layer_norm = {NoScratch<Int8LayerNormArgs>, Int8LayerNormRun};
  kernels.resize = {NoScratch<ResizeArgs>, Int8ResizeRun};
  kernels.global_pool = {NoScratch<Int8GlobalPoolArgs>, Int8GlobalPoolRun};
  return kernels;
}

}  // namespace
}  // namespace mvf

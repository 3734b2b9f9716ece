// Fills a CudaTable from the kernels, for one element type.
#pragma once

#include "cuda/launchers-inl.h"

namespace mvf::cuda {

template <class Element>
CudaTable MakeTable(const char* name, DType type) {
  CudaTable table = {};
  table.name = name;
  table.element = type;
  table.linear_packing = {LinearPacking<Element>::Bytes, LinearPacking<Element>::Pack};
  table.linear = {RunLinear<Element>};
  table.ffn_packing = {FfnPacking<Element>::Bytes, FfnPacking<Element>::Pack};
  table.ffn = {RunFfn<Element>};
  table.conv3x3_packing = {ConvPacking<Element>::Bytes, ConvPacking<Element>::Pack};
  table.conv3x3 = {RunConv3x3<Element>};
  table.stem_packing = {ConvPacking<Element>::Bytes, ConvPacking<Element>::Pack};
  table.stem = {RunStem<Element>};
  table.inverted_residual_packing = {InvertedResidualPacking<Element>::Bytes,
                                     InvertedResidualPacking<Element>::Pack};
  table.inverted_residual = {RunInvertedResidual<Element>};
  table.attention = {RunAttention<Element>};
  table.layer_norm = {RunLayerNorm<Element>};
  table.resize = {RunResize<Element>};
  table.global_pool = {RunGlobalPool<Element>};
  table.planar = {RunPlanar<Element>};
  return table;
}

}  // namespace mvf::cuda

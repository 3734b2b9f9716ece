#include "cuda/int8_launchers-inl.h"

namespace mvf {
namespace {

using namespace cuda;

CudaInt8Kernels MakeInt8Kernels() {
  CudaInt8Kernels kernels = {};
  kernels.linear_packing = {Int8LinearPacking::Bytes, Int8LinearPacking::Pack};
  kernels.linear = {RunInt8Linear};
  kernels.ffn_packing = {Int8FfnPacking::Bytes, Int8FfnPacking::Pack};
  kernels.ffn = {RunInt8Ffn};
  kernels.conv3x3_packing = {Int8ConvPacking::Bytes, Int8ConvPacking::Pack};
  kernels.conv3x3 = {RunInt8Conv3x3};
  kernels.stem_packing = {Int8ConvPacking::Bytes, Int8ConvPacking::Pack};
  kernels.stem = {RunInt8Stem};
  kernels.inverted_residual_packing = {Int8InvertedResidualPacking::Bytes, Int8InvertedResidualPacking::Pack};
  kernels.inverted_residual = {RunInt8InvertedResidual};
  kernels.attention = {RunInt8Attention};
  kernels.quantize = {RunQuantize<true>};
  kernels.dequantize = {RunQuantize<false>};
  kernels.layer_norm = {RunInt8LayerNorm};
  kernels.resize = {LaunchResize<ExactResizeKernel<uint8_t>>};
  kernels.global_pool = {RunInt8GlobalPool};
  return kernels;
}

// Float layers beside those on bytes are plain float32.
CudaTable MakeTable(const CudaInt8Kernels& kernels) {
  CudaTable table = CudaTableF32();
  table.name = "int8";
  table.resize = {LaunchResize<ExactResizeKernel<float>>};
  table.int8 = &kernels;
  return table;
}

}  // namespace

const CudaTable& CudaTableInt8() {
  static const CudaInt8Kernels kernels = MakeInt8Kernels();
  static const CudaTable table = MakeTable(kernels);
  return table;
}

}  // namespace mvf

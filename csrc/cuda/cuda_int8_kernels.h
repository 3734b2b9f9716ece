// The device's 8-bit kernels as the engine sees them: int8_kernels.h's operations on a batch of images, as
// cuda_table.h has the others. Every integer, byte and float that they give is what the plain C++ kernels of
// the CPU (table "scalar") give.
#pragma once

#include "cuda/cuda_run.h"
#include "kernels/int8_kernels.h"

namespace mvf {

// Linear layers take no dynamic input, and no activation of a float output.
struct CudaInt8Kernels {
  Packing<Int8LinearShape, Int8LinearWeights> linear_packing;
  CudaKernel<Int8LinearArgs> linear;
  Packing<Int8FfnShape, Int8FfnWeights> ffn_packing;
  CudaKernel<Int8FfnArgs> ffn;
  Packing<Int8Conv3x3Shape, Int8Conv3x3Weights> conv3x3_packing;
  CudaKernel<Int8Conv3x3Args> conv3x3;
  Packing<Int8Conv3x3Shape, Int8Conv3x3Weights> stem_packing;
  CudaKernel<Int8StemArgs> stem;
  Packing<Int8InvertedResidualShape, Int8InvertedResidualWeights> inverted_residual_packing;
  CudaKernel<Int8InvertedResidualArgs> inverted_residual;
  CudaKernel<Int8AttentionArgs> attention;
  CudaKernel<QuantizeArgs> quantize;
  CudaKernel<QuantizeArgs> dequantize;
  CudaKernel<Int8LayerNormArgs> layer_norm;
  CudaKernel<ResizeArgs> resize;  // bytes, rounded
  CudaKernel<Int8GlobalPoolArgs> global_pool;
};

}  // namespace mvf

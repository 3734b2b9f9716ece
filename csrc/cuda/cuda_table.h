// The device's kernels as the engine sees them: kernel_table.h's operations on a batch of images. Plain C++.
//
// Maps are dense, [images][height][width][channels]; the Map of an operation's Args describes the first
// image, and rows are those of one image. Weights are packed on the host and copied as they are.
#pragma once

#include "cuda/cuda_int8_kernels.h"
#include "cuda/cuda_run.h"
#include "kernels/kernel_table.h"

namespace mvf {

// output[n, c, y, x] = map[n, y, x, c] as float, for each image; a vector is a map of one pixel.
struct PlanarArgs {
  Map map;
  DType type = DType::kF32;
  float* output = nullptr;
};

struct CudaTable {
  const char* name;  // the precision
  DType element;     // in memory
  Packing<LinearShape, LinearWeights> linear_packing;
  CudaKernel<LinearArgs> linear;
  Packing<FfnShape, FfnWeights> ffn_packing;
  CudaKernel<FfnArgs> ffn;
  Packing<Conv3x3Shape, Conv3x3Weights> conv3x3_packing;
  CudaKernel<Conv3x3Args> conv3x3;
  Packing<Conv3x3Shape, Conv3x3Weights> stem_packing;
  CudaKernel<StemArgs> stem;
  Packing<InvertedResidualShape, InvertedResidualWeights> inverted_residual_packing;
  CudaKernel<InvertedResidualArgs> inverted_residual;
  CudaKernel<AttentionArgs> attention;
  CudaKernel<LayerNormArgs> layer_norm;
  CudaKernel<ResizeArgs> resize;
  CudaKernel<GlobalPoolArgs> global_pool;
  CudaKernel<PlanarArgs> planar;
  const CudaInt8Kernels* int8 = nullptr;  // beside float elements, or null
};

// Heads wider than this many channels are refused.
constexpr int64_t kMaxCudaHeadDim = 64;

// Inverted residuals of 16-bit elements with so many input channels fit the shared memory of every device.
constexpr int64_t kMaxCudaExpandedInput = 384;

const CudaTable& CudaTableF16();
const CudaTable& CudaTableBf16();
const CudaTable& CudaTableTf32();
const CudaTable& CudaTableF32();
const CudaTable& CudaTableInt8();

}  // namespace mvf

// Weights packed where they lie: from the device's memory, in the table's element type, into what the table's
// packings make of the same numbers on the host. For whoever changes weights between calls. Plain C++.
#pragma once

#include "cuda/cuda_table.h"

namespace mvf {

// weight [columns][depth] as in the operation's Weights; bias [columns], or null for zeros.
struct DeviceWeights {
  const void* weight = nullptr;
  const void* bias = nullptr;
};

struct DeviceInvertedResidualWeights {
  DeviceWeights expand;
  DeviceWeights depthwise;
  DeviceWeights project;
};

// Enqueue; `packed` is of the table's packing's size, at a multiple of kAlignment.
void PackOnDevice(DType element, const LinearShape& shape, const DeviceWeights& weights, void* packed,
                  const CudaRun& run);
void PackOnDevice(DType element, const Conv3x3Shape& shape, const DeviceWeights& weights, void* packed,
                  const CudaRun& run);
void PackOnDevice(DType element, const InvertedResidualShape& shape,
                  const DeviceInvertedResidualWeights& weights, void* packed, const CudaRun& run);

}  // namespace mvf

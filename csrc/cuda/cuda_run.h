// One launch of the device's kernels, whatever they compute.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mvf {

struct CudaRun {
  void* stream = nullptr;  // a cudaStream_t
  int64_t images = 1;
  int64_t image_stride = 0;  // of the stem's images, in floats
  int multiprocessors = 1;   // of the device
  size_t shared_bytes = 0;   // that one block may have
};

// Enqueues. Throws std::invalid_argument for an operation too wide for the device, cuda::CudaError.
template <class Args>
struct CudaKernel {
  void (*run)(const Args&, const CudaRun&);
};

}  // namespace mvf

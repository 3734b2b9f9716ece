// What every launch checks first.
#pragma once

#include <climits>
#include <stdexcept>
#include <string>

#include "cuda/cuda_run.h"
#include "cuda/simt.h"

namespace mvf::cuda {

inline bool IsAligned(const void* address, size_t bytes) {
  return reinterpret_cast<uintptr_t>(address) % bytes == 0;
}

// Sizes that kernels count in 32 bits.
inline int Narrowed(int64_t value) {
  if (value < 0 || value > INT_MAX) {
    throw std::invalid_argument("a size of " + std::to_string(value) + " is beyond what CUDA kernels take");
  }
  return static_cast<int>(value);
}

template <class Kernel>
void LaunchBlocks(const typename Kernel::Args& args, int64_t blocks, int threads, size_t shared,
                  const CudaRun& run) {
  if (blocks == 0) return;
  Narrowed(blocks);
  if (shared > run.shared_bytes) {
    throw std::invalid_argument("an operation this wide needs " + std::to_string(shared) +
                                " bytes of a block's shared memory; the device has " +
                                std::to_string(run.shared_bytes));
  }
  Launch<Kernel>(args, {blocks, threads, shared, run.shared_bytes}, run.stream);
}

}  // namespace mvf::cuda

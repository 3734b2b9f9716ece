// What the CUDA runtime refused, as an exception. Reported to Python as RuntimeError.
#pragma once

#include <stdexcept>

namespace mvf::cuda {

class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws CudaError unless `code`, a cudaError_t, is success. `purpose` completes "CUDA refused ...".
void CheckCuda(int code, const char* purpose);

}  // namespace mvf::cuda

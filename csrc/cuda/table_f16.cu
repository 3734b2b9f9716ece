#include "cuda/table-inl.h"

namespace mvf {

const CudaTable& CudaTableF16() {
  static const CudaTable table = cuda::MakeTable<Half>("fp16", DType::kF16);
  return table;
}

}  // namespace mvf

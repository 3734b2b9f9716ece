#include "cuda/table-inl.h"

namespace mvf {

const CudaTable& CudaTableF32() {
  static const CudaTable table = cuda::MakeTable<float>("fp32", DType::kF32);
  return table;
}

}  // namespace mvf

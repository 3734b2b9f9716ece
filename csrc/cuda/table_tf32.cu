#include "cuda/table-inl.h"

namespace mvf {

const CudaTable& CudaTableTf32() {
  static const CudaTable table = cuda::MakeTable<Tf32>("tf32", DType::kF32);
  return table;
}

}  // namespace mvf

#include "cuda/table-inl.h"

namespace mvf {

const CudaTable& CudaTableBf16() {
  static const CudaTable table = cuda::MakeTable<Bf16>("bf16", DType::kBf16);
  return table;
}

}  // namespace mvf

// What a module without CUDA kernels answers when it is asked for them.
#include "python/bindings.h"

namespace mvf {

void BindCuda(pybind11::module_& module) {
  module.def("why_no_cuda",
             [] { return "this build has no CUDA kernels; build with CMAKE_ARGS=-DMVF_CUDA=ON and nvcc"; });
  module.def("cuda_devices", [] { return pybind11::list(); });
}

}  // namespace mvf

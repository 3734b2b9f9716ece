// Arrays in a device's memory, checked before anything is enqueued that reads or writes them. Any object with
// __cuda_array_interface__ will do: torch's CUDA tensors, CuPy's and Numba's arrays.
#pragma once

#include <string>

#include "python/arrays.h"

namespace mvf {

// TypeError unless `array` offers float32 elements of a device; ValueError unless its shape is `expected`
// (kAnySize matches any size), its elements are aligned and its memory is that of `device`; `layout` as in
// ReadArray. A mask and another stream's data are the caller's to resolve.
FloatView ReadDeviceArray(py::handle array, const std::string& name, const Shape& expected,
                          const char* layout, int device);

// The same for one that is written: of exactly that shape, dense.
float* ReadDeviceOutput(py::handle array, const std::string& name, const Shape& expected, int device);

}  // namespace mvf

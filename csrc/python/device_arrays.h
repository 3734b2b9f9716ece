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

// The same for uint8 elements.
ByteView ReadDeviceBytes(py::handle array, const std::string& name, const Shape& expected, const char* layout,
                         int device);

// The same for one that is written: of exactly that shape, dense.
float* ReadDeviceOutput(py::handle array, const std::string& name, const Shape& expected, int device);

// Arrays of other elements; all dense, of exactly that type.
struct DenseDeviceArray {
  Shape shape;
  void* data = nullptr;
};
DenseDeviceArray ReadDenseArray(py::handle array, const std::string& name, DType type, const Shape& expected,
                                const char* layout, int device);
// At a multiple of `alignment` bytes.
void* ReadDenseOutput(py::handle array, const std::string& name, DType type, const Shape& expected,
                      int device, size_t alignment);

// uint8 [bytes] to write into, at a multiple of kAlignment.
void* ReadWorkspace(py::handle array, const std::string& name, int64_t bytes, int device);

// TypeError unless the elements are float16, bfloat16 or float32.
DType DeviceArrayType(py::handle array, const std::string& name);

// The number of a device of this machine. Throws std::invalid_argument where it has no such device, or none.
int ReadCudaDevice(const py::object& device);

}  // namespace mvf

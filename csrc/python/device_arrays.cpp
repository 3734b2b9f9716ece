#include "python/device_arrays.h"

#include <climits>
#include <stdexcept>

#include "cuda/device.h"
#include "kernels/kernel_table.h"
#include "python/scalars.h"

namespace mvf {
namespace {

struct ElementType {
  const char* code;  // in the interface
  const char* name;
  int64_t bytes;
};
constexpr ElementType kFloat32 = {"<f4", "float32", 4};
constexpr ElementType kFloat16 = {"<f2", "float16", 2};
// Releases of torch differ in what they call bfloat16 in the interface: it comes as a view as int16.
constexpr ElementType kBfloat16 = {"<i2", "bfloat16 (as int16)", 2};
constexpr ElementType kByte = {"|u1", "uint8", 1};

const ElementType& TypeOf(DType type) {
  switch (type) {
    case DType::kF16:
      return kFloat16;
    case DType::kBf16:
      return kBfloat16;
    case DType::kF32:
      break;
  }
  return kFloat32;
}

struct DeviceArray : Strided {
  void* data = nullptr;
  bool read_only = false;
};

[[noreturn]] void RefuseShape(const std::string& name, const char* layout, const Shape& shape) {
  throw std::invalid_argument(name + " must be " + layout + ", got " + ToString(shape));
}

// The dict that describes an array.
class Interface {
 public:
  Interface(py::handle array, const std::string& name, const std::string& wanted)
      : name_(name + ".__cuda_array_interface__") {
    const py::object interface = py::getattr(array, "__cuda_array_interface__", py::none());
    if (interface.is_none()) throw py::type_error(wanted + ", got " + Py_TYPE(array.ptr())->tp_name);
    if (!py::isinstance<py::dict>(interface)) WrongType(name_, "a dict", interface);
    dict_ = interface;
  }

  std::string NameOf(const char* key) const { return name_ + "['" + key + "']"; }
  py::object Required(const char* key) const {
    if (!dict_.contains(key)) throw std::invalid_argument(name_ + " lacks the key '" + key + "'");
    return dict_[key];
  }
  // None where the key is not there.
  py::object Optional(const char* key) const {
    return dict_.contains(key) ? py::object(dict_[key]) : py::none();
  }

 private:
  std::string name_;
  py::dict dict_;
};

Shape ReadSizes(py::handle sizes, const std::string& name, int64_t least) {
  if (!py::isinstance<py::tuple>(sizes)) throw py::type_error(name + " must be a tuple");
  Shape shape;
  for (py::handle size : py::reinterpret_borrow<py::tuple>(sizes)) {
    shape.push_back(ReadInt(size, name, least, INT64_MAX / kFloat32.bytes));
  }
  return shape;
}

// The first and the last byte that the elements reach must be the device's.
void CheckMemory(const DeviceArray& view, int64_t element, const std::string& name, int device) {
  if (view.empty()) return;
  int64_t lowest = 0, highest = 0;
  for (size_t i = 0; i < view.shape.size(); ++i) {
    int64_t reach = 0, sum = 0;
    int64_t& end = view.strides[i] < 0 ? lowest : highest;
    if (__builtin_mul_overflow(view.shape[i] - 1, view.strides[i], &reach) ||
        __builtin_add_overflow(end, reach, &sum) || sum > INT64_MAX / element || sum < INT64_MIN / element) {
      throw std::invalid_argument(name + " has strides that no memory could hold");
    }
    end = sum;
  }
  const auto first = reinterpret_cast<uintptr_t>(view.data);
  for (int64_t offset : {lowest * element, highest * element + element - 1}) {
    const int found = cuda::DeviceOf(reinterpret_cast<const void*>(first + static_cast<uintptr_t>(offset)));
    if (found == device) continue;
    throw std::invalid_argument(
        name + " must be in the memory of CUDA device " + std::to_string(device) +
        (found < 0 ? "; it is not in a device's" : "; it is in that of device " + std::to_string(found)));
  }
}

void RequireWholeElements(bool whole, const ElementType& type, const std::string& name) {
  if (!whole) {
    throw std::invalid_argument(name + " has elements off the multiples of " + std::to_string(type.bytes) +
                                " bytes");
  }
}

DeviceArray Read(py::handle array, const std::string& name, const ElementType& type, const Shape& expected,
                 const char* layout, int device) {
  const std::string wanted = name + " must be a " + type.name + " array on a CUDA device";
  const Interface interface(array, name, wanted);
  const std::string code = ReadString(interface.Required("typestr"), interface.NameOf("typestr"));
  if (code != type.code) throw py::type_error(wanted + ", got elements of type '" + code + "'");
  if (!interface.Optional("mask").is_none()) throw py::type_error(name + " must have no mask");

  DeviceArray view;
  view.shape = ReadSizes(interface.Required("shape"), interface.NameOf("shape"), 0);
  bool matches = view.shape.size() == expected.size();
  for (size_t i = 0; matches && i < expected.size(); ++i) {
    matches = expected[i] == kAnySize || expected[i] == view.shape[i];
  }
  if (!matches) RefuseShape(name, layout, view.shape);

  const py::object strides = interface.Optional("strides");
  if (strides.is_none()) {
    int64_t stride = 1;
    view.strides.assign(view.shape.size(), 0);
    for (size_t i = view.shape.size(); i-- > 0;) {
      view.strides[i] = stride;
      if (__builtin_mul_overflow(stride, std::max<int64_t>(view.shape[i], 1), &stride)) {
        RefuseShape(name, layout, view.shape);
      }
    }
  } else {
    for (int64_t bytes : ReadSizes(strides, interface.NameOf("strides"), INT64_MIN / kFloat32.bytes)) {
      RequireWholeElements(bytes % type.bytes == 0, type, name);
      view.strides.push_back(bytes / type.bytes);
    }
    if (view.strides.size() != view.shape.size()) {
      throw std::invalid_argument(interface.NameOf("strides") + " must have as many entries as the shape");
    }
  }
  const py::object data = interface.Required("data");
  if (!py::isinstance<py::tuple>(data) || py::len(data) != 2) {
    WrongType(interface.NameOf("data"), "a tuple of an address and whether it is read only", data);
  }
  const py::object place = data[py::int_(0)], read_only = data[py::int_(1)];
  const auto address = static_cast<uintptr_t>(ReadInt(place, interface.NameOf("data"), 0, INT64_MAX));
  RequireWholeElements(address % static_cast<uintptr_t>(type.bytes) == 0, type, name);
  view.data = reinterpret_cast<void*>(address);
  view.read_only = ReadBool(read_only, interface.NameOf("data"));
  CheckMemory(view, type.bytes, name, device);
  return view;
}

void RequireDense(const DeviceArray& view, const std::string& name) {
  if (view.empty()) return;
  int64_t stride = 1;
  for (size_t i = view.shape.size(); i-- > 0;) {
    if (view.shape[i] > 1 && view.strides[i] != stride) {
      throw std::invalid_argument(name + " must be dense, its last axis the innermost");
    }
    stride *= view.shape[i];
  }
}

void RequireWriteable(const DeviceArray& view, const std::string& name) {
  if (view.read_only) throw std::invalid_argument(name + " must be writeable");
}

void RequireAligned(const DeviceArray& view, const std::string& name, size_t alignment) {
  if (reinterpret_cast<uintptr_t>(view.data) % alignment != 0) {
    throw std::invalid_argument(name + " must begin at a multiple of " + std::to_string(alignment) +
                                " bytes");
  }
}

template <class Element>
View<Element> ViewOf(const DeviceArray& read) {
  View<Element> view;
  view.shape = read.shape;
  view.strides = read.strides;
  view.data = static_cast<Element*>(read.data);
  return view;
}

}  // namespace

FloatView ReadDeviceArray(py::handle array, const std::string& name, const Shape& expected,
                          const char* layout, int device) {
  return ViewOf<float>(Read(array, name, kFloat32, expected, layout, device));
}

ByteView ReadDeviceBytes(py::handle array, const std::string& name, const Shape& expected, const char* layout,
                         int device) {
  return ViewOf<uint8_t>(Read(array, name, kByte, expected, layout, device));
}

float* ReadDeviceOutput(py::handle array, const std::string& name, const Shape& expected, int device) {
  return static_cast<float*>(ReadDenseOutput(array, name, DType::kF32, expected, device, sizeof(float)));
}

DenseDeviceArray ReadDenseArray(py::handle array, const std::string& name, DType type, const Shape& expected,
                                const char* layout, int device) {
  const DeviceArray read = Read(array, name, TypeOf(type), expected, layout, device);
  RequireDense(read, name);
  return {read.shape, read.data};
}

void* ReadDenseOutput(py::handle array, const std::string& name, DType type, const Shape& expected,
                      int device, size_t alignment) {
  const DeviceArray read = Read(array, name, TypeOf(type), expected, ToString(expected).c_str(), device);
  RequireWriteable(read, name);
  RequireDense(read, name);
  RequireAligned(read, name, alignment);
  return read.data;
}

void* ReadWorkspace(py::handle array, const std::string& name, int64_t bytes, int device) {
  const DeviceArray read = Read(array, name, kByte, {bytes}, ToString(Shape{bytes}).c_str(), device);
  RequireWriteable(read, name);
  RequireDense(read, name);
  RequireAligned(read, name, kAlignment);
  return read.data;
}

DType DeviceArrayType(py::handle array, const std::string& name) {
  const std::string wanted =
      name + " must be a float16, bfloat16 (as int16) or float32 array on a CUDA device";
  const Interface interface(array, name, wanted);
  const std::string code = ReadString(interface.Required("typestr"), interface.NameOf("typestr"));
  for (DType type : {DType::kF16, DType::kBf16, DType::kF32}) {
    if (code == TypeOf(type).code) return type;
  }
  throw py::type_error(wanted + ", got elements of type '" + code + "'");
}

int ReadCudaDevice(const py::object& device) {
  const std::string reason = cuda::WhyUnavailable();
  if (!reason.empty()) throw std::invalid_argument("no CUDA device can be used: " + reason);
  const int64_t number = ReadInt(device, "device", 0, INT_MAX);
  const int count = cuda::DeviceCount();
  if (number >= count) {
    throw std::invalid_argument("there is no CUDA device " + std::to_string(number) + "; this machine has " +
                                std::to_string(count));
  }
  return static_cast<int>(number);
}

}  // namespace mvf

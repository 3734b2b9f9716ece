#include "python/device_arrays.h"

#include <climits>
#include <stdexcept>

#include "cuda/device.h"
#include "python/scalars.h"

namespace mvf {
namespace {

constexpr int64_t kElement = sizeof(float);
constexpr const char* kFloat32 = "<f4";

struct DeviceArray {
  FloatView view;
  bool read_only = false;
};

[[noreturn]] void RefuseShape(const std::string& name, const char* layout, const Shape& shape) {
  throw std::invalid_argument(name + " must be " + layout + ", got " + ToString(shape));
}

// The dict that describes an array.
class Interface {
 public:
  Interface(py::handle array, const std::string& name) : name_(name + ".__cuda_array_interface__") {
    const py::object interface = array.attr("__cuda_array_interface__");
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
    shape.push_back(ReadInt(size, name, least, INT64_MAX / kElement));
  }
  return shape;
}

// The first and the last byte that the elements reach must be the device's.
void CheckMemory(const FloatView& view, const std::string& name, int device) {
  if (view.empty()) return;
  int64_t lowest = 0, highest = 0;
  for (size_t i = 0; i < view.shape.size(); ++i) {
    int64_t reach = 0, sum = 0;
    int64_t& end = view.strides[i] < 0 ? lowest : highest;
    if (__builtin_mul_overflow(view.shape[i] - 1, view.strides[i], &reach) ||
        __builtin_add_overflow(end, reach, &sum) || sum > INT64_MAX / kElement ||
        sum < INT64_MIN / kElement) {
      throw std::invalid_argument(name + " has strides that no memory could hold");
    }
    end = sum;
  }
  const auto first = reinterpret_cast<uintptr_t>(view.data);
  for (int64_t offset : {lowest * kElement, highest * kElement + kElement - 1}) {
    const int found = cuda::DeviceOf(reinterpret_cast<const void*>(first + static_cast<uintptr_t>(offset)));
    if (found == device) continue;
    throw std::invalid_argument(
        name + " must be in the memory of CUDA device " + std::to_string(device) +
        (found < 0 ? "; it is not in a device's" : "; it is in that of device " + std::to_string(found)));
  }
}

DeviceArray Read(py::handle array, const std::string& name, const Shape& expected, const char* layout,
                 int device) {
  const std::string wanted = name + " must be a float32 array on a CUDA device";
  if (!py::hasattr(array, "__cuda_array_interface__")) {
    throw py::type_error(wanted + ", got " + Py_TYPE(array.ptr())->tp_name);
  }
  const Interface interface(array, name);
  const std::string type = ReadString(interface.Required("typestr"), interface.NameOf("typestr"));
  if (type != kFloat32) throw py::type_error(wanted + ", got elements of type '" + type + "'");
  if (!interface.Optional("mask").is_none()) throw py::type_error(name + " must have no mask");

  DeviceArray read;
  FloatView& view = read.view;
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
    for (int64_t bytes : ReadSizes(strides, interface.NameOf("strides"), INT64_MIN / kElement)) {
      if (bytes % kElement != 0)
        throw std::invalid_argument(name + " has elements off the multiples of 4 bytes");
      view.strides.push_back(bytes / kElement);
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
  if (address % kElement != 0) {
    throw std::invalid_argument(name + " has elements off the multiples of 4 bytes");
  }
  view.data = reinterpret_cast<float*>(address);
  read.read_only = ReadBool(read_only, interface.NameOf("data"));
  CheckMemory(view, name, device);
  return read;
}

}  // namespace

FloatView ReadDeviceArray(py::handle array, const std::string& name, const Shape& expected,
                          const char* layout, int device) {
  return Read(array, name, expected, layout, device).view;
}

float* ReadDeviceOutput(py::handle array, const std::string& name, const Shape& expected, int device) {
  const DeviceArray read = Read(array, name, expected, ToString(expected).c_str(), device);
  if (read.read_only) throw std::invalid_argument(name + " must be writeable");
  int64_t stride = 1;
  for (size_t i = expected.size(); i-- > 0;) {
    if (expected[i] > 1 && !read.view.empty() && read.view.strides[i] != stride) {
      throw std::invalid_argument(name + " must be dense, its last axis the innermost");
    }
    stride *= expected[i];
  }
  return read.view.data;
}

}  // namespace mvf

#include "python/arrays.h"

#include <algorithm>
#include <stdexcept>

#include "base/memory.h"

namespace mvf {
namespace {

constexpr int64_t kElement = sizeof(float);

std::string Describe(const py::array& array) {
  return py::str(array.dtype()).cast<std::string>() + " of shape " +
         ToString(Shape(array.shape(), array.shape() + array.ndim()));
}

template <class T>
py::array RequireArray(py::handle object, const std::string& name, const char* layout) {
  const std::string type = py::str(py::dtype::of<T>()).template cast<std::string>();
  const std::string article = type.front() == 'i' ? "an " : "a ";
  const std::string expected =
      name + " must be " + article + type + " NumPy array" + (*layout ? " of shape " : "") + layout;
  if (!py::isinstance<py::array>(object)) {
    throw py::type_error(expected + ", got " + Py_TYPE(object.ptr())->tp_name);
  }
  auto array = py::reinterpret_borrow<py::array>(object);
  if (!py::isinstance<py::array_t<T>>(object)) throw py::type_error(expected + ", got " + Describe(array));
  return array;
}

FloatView ViewOf(const py::array& array, const std::string& name) {
  FloatView view;
  view.data = static_cast<float*>(const_cast<void*>(array.data()));
  view.shape.assign(array.shape(), array.shape() + array.ndim());
  bool aligned = reinterpret_cast<uintptr_t>(view.data) % kElement == 0;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    // A dimension of one element has whatever stride NumPy left there; nothing walks it.
    const int64_t stride = array.shape(i) == 1 ? 0 : array.strides(i);
    aligned &= stride % kElement == 0;
    view.strides.push_back(stride / kElement);
  }
  if (!aligned && !view.empty()) {
    throw std::invalid_argument(
        name + " has elements off the multiples of 4 bytes; pass numpy.ascontiguousarray(" + name + ")");
  }
  return view;
}

bool Matches(const FloatView& view, const Shape& expected) {
  return view.shape.size() == expected.size() &&
         std::equal(expected.begin(), expected.end(), view.shape.begin(),
                    [](int64_t wanted, int64_t given) { return wanted == kAnySize || wanted == given; });
}

// First and one-past-last byte that the elements reach.
struct Extent {
  uintptr_t begin;
  uintptr_t end;
};

Extent ExtentOf(const FloatView& view) {
  if (view.empty()) return {0, 0};
  int64_t lowest = 0, highest = 1;
  for (size_t i = 0; i < view.shape.size(); ++i) {
    const int64_t reach = (view.shape[i] - 1) * view.strides[i];
    (reach < 0 ? lowest : highest) += reach;
  }
  const auto data = reinterpret_cast<uintptr_t>(view.data);
  return {data + static_cast<uintptr_t>(lowest * kElement),
          data + static_cast<uintptr_t>(highest * kElement)};
}

bool Overlap(const FloatView& a, const FloatView& b) {
  const Extent first = ExtentOf(a), second = ExtentOf(b);
  return first.begin < second.end && second.begin < first.end;
}

bool Same(const FloatView& a, const FloatView& b) {
  return a.data == b.data && a.shape == b.shape && a.strides == b.strides;
}

}  // namespace

std::string ToString(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + (shape[i] == kAnySize ? std::string("any") : std::to_string(shape[i]));
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

FloatView ReadFloat32(py::handle object, const std::string& name, const Shape& expected, const char* layout) {
  const py::array array = RequireArray<float>(object, name, layout);
  FloatView view = ViewOf(array, name);
  if (!Matches(view, expected)) {
    throw std::invalid_argument(name + " must be a float32 NumPy array of shape " + layout + ", got " +
                                Describe(array));
  }
  return view;
}

FloatView ReadFloat32(py::handle object, const std::string& name) {
  const py::array array = RequireArray<float>(object, name, "");
  if (array.ndim() < 1) throw std::invalid_argument(name + " needs at least one dimension");
  return ViewOf(array, name);
}

template <class T>
py::array_t<T> ReadWeight(py::handle object, const std::string& name, const Shape& expected) {
  const std::string layout = ToString(expected);
  const py::array array = RequireArray<T>(object, name, layout.c_str());
  const Shape shape(array.shape(), array.shape() + array.ndim());
  if (!Matches({nullptr, shape, {}}, expected)) {
    throw std::invalid_argument(name + " must have shape " + layout + ", got " + ToString(shape));
  }
  for (int64_t size : shape) {
    if (size == 0) throw std::invalid_argument(name + " has no elements: its shape is " + ToString(shape));
  }
  auto dense = py::array_t<T, py::array::c_style>::ensure(array);
  if (!dense) throw py::error_already_set();
  return std::move(dense);
}

template py::array_t<float> ReadWeight<float>(py::handle, const std::string&, const Shape&);
template py::array_t<int8_t> ReadWeight<int8_t>(py::handle, const std::string&, const Shape&);
template py::array_t<uint8_t> ReadWeight<uint8_t>(py::handle, const std::string&, const Shape&);
template py::array_t<int32_t> ReadWeight<int32_t>(py::handle, const std::string&, const Shape&);

Output MakeOutput(py::handle out, const Shape& shape, const std::vector<Named>& read) {
  if (out.is_none()) {
    size_t bytes = sizeof(float);
    for (int64_t size : shape) bytes = CheckedProduct(bytes, static_cast<size_t>(size));
    CheckAffordable(bytes, "the output");
    py::array array = py::array_t<float>(std::vector<py::ssize_t>(shape.begin(), shape.end()));
    FloatView view = ViewOf(array, "out");
    return {std::move(array), std::move(view)};
  }
  const std::string layout = ToString(shape);
  FloatView view = ReadFloat32(out, "out", shape, layout.c_str());
  auto array = py::reinterpret_borrow<py::array>(out);
  if (!array.writeable()) throw std::invalid_argument("out is read-only");
  for (const Named& input : read) {
    const bool allowed = input.may_be_out && Same(view, *input.view);
    if (!allowed && Overlap(view, *input.view)) {
      throw std::invalid_argument(std::string("out shares memory with ") + input.name);
    }
  }
  return {std::move(array), std::move(view)};
}

void RequireUnitChannels(const FloatView& view, const std::string& name) {
  if (!view.empty() && view.shape.back() > 1 && view.strides.back() != 1) {
    throw std::invalid_argument(
        name + " must have its channels next to one another in memory (a stride of 4 bytes), got " +
        std::to_string(view.strides.back() * kElement) + "; pass numpy.ascontiguousarray(" + name + ")");
  }
}

Image ImageAt(const FloatView& nchw, int64_t n) {
  return {nchw.data + n * nchw.strides[0],
          nchw.shape[1],
          nchw.shape[2],
          nchw.shape[3],
          nchw.strides[1],
          nchw.strides[2],
          nchw.strides[3]};
}

Map MapAt(const FloatView& nhwc, int64_t n) {
  Map map{nhwc.data + n * nhwc.strides[0],
          nhwc.shape[1],
          nhwc.shape[2],
          nhwc.shape[3],
          nhwc.strides[1],
          nhwc.strides[2]};
  // A single row or column may lie anywhere: as a dense map's is what lets kernels see a dense map.
  if (map.width == 1) map.pixel_stride = map.channels;
  if (map.height == 1) map.row_stride = map.width * map.pixel_stride;
  return map;
}

}  // namespace mvf

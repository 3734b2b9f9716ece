#include "python/arrays.h"

#include <algorithm>
#include <stdexcept>

#include "base/memory.h"

namespace mvf {
namespace {

std::string Describe(const py::array& array) {
  return py::str(array.dtype()).cast<std::string>() + " of shape " +
         ToString(Shape(array.shape(), array.shape() + array.ndim()));
}

template <class T>
std::string Expected(const std::string& name, const char* layout) {
  const std::string type = py::str(py::dtype::of<T>()).template cast<std::string>();
  const std::string article = type.front() == 'i' ? "an " : "a ";
  return name + " must be " + article + type + " NumPy array" + (*layout ? " of shape " : "") + layout;
}

template <class T>
py::array RequireArray(py::handle object, const std::string& name, const char* layout) {
  if (!py::isinstance<py::array>(object)) {
    throw py::type_error(Expected<T>(name, layout) + ", got " + Py_TYPE(object.ptr())->tp_name);
  }
  auto array = py::reinterpret_borrow<py::array>(object);
  if (!py::isinstance<py::array_t<T>>(object)) {
    throw py::type_error(Expected<T>(name, layout) + ", got " + Describe(array));
  }
  return array;
}

template <class Element>
View<Element> ViewOf(const py::array& array, const std::string& name) {
  constexpr int64_t kElement = sizeof(Element);
  View<Element> view;
  view.data = static_cast<Element*>(const_cast<void*>(array.data()));
  view.shape.assign(array.shape(), array.shape() + array.ndim());
  bool aligned = reinterpret_cast<uintptr_t>(view.data) % kElement == 0;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    // A dimension of one element has whatever stride NumPy left there; nothing walks it.
    const int64_t stride = array.shape(i) == 1 ? 0 : array.strides(i);
    aligned &= stride % kElement == 0;
    view.strides.push_back(stride / kElement);
  }
  if (!aligned && !view.empty()) {
    throw std::invalid_argument(name + " has elements off the multiples of " + std::to_string(kElement) +
                                " bytes; pass numpy.ascontiguousarray(" + name + ")");
  }
  return view;
}

bool Matches(const Shape& shape, const Shape& expected) {
  return shape.size() == expected.size() &&
         std::equal(expected.begin(), expected.end(), shape.begin(),
                    [](int64_t wanted, int64_t given) { return wanted == kAnySize || wanted == given; });
}

// First and one-past-last byte that the elements reach.
struct Extent {
  uintptr_t begin;
  uintptr_t end;
};

Extent ExtentOf(const Named& array) {
  if (array.view->empty()) return {0, 0};
  int64_t lowest = 0, highest = 1;
  for (size_t i = 0; i < array.view->shape.size(); ++i) {
    const int64_t reach = (array.view->shape[i] - 1) * array.view->strides[i];
    (reach < 0 ? lowest : highest) += reach;
  }
  const auto data = reinterpret_cast<uintptr_t>(array.data);
  return {data + static_cast<uintptr_t>(lowest * array.element),
          data + static_cast<uintptr_t>(highest * array.element)};
}

bool Overlap(const Named& a, const Named& b) {
  const Extent first = ExtentOf(a), second = ExtentOf(b);
  return first.begin < second.end && second.begin < first.end;
}

bool Same(const Named& a, const Named& b) {
  return a.data == b.data && a.element == b.element && a.view->shape == b.view->shape &&
         a.view->strides == b.view->strides;
}

}  // namespace

std::string ToString(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + (shape[i] == kAnySize ? std::string("any") : std::to_string(shape[i]));
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

template <class Element>
View<Element> ReadArray(py::handle object, const std::string& name, const Shape& expected,
                        const char* layout) {
  const py::array array = RequireArray<Element>(object, name, layout);
  View<Element> view = ViewOf<Element>(array, name);
  if (!Matches(view.shape, expected)) {
    throw std::invalid_argument(Expected<Element>(name, layout) + ", got " + Describe(array));
  }
  return view;
}

template <class Element>
View<Element> ReadArray(py::handle object, const std::string& name) {
  const py::array array = RequireArray<Element>(object, name, "");
  if (array.ndim() < 1) throw std::invalid_argument(name + " needs at least one dimension");
  return ViewOf<Element>(array, name);
}

template <class T>
py::array_t<T> ReadWeight(py::handle object, const std::string& name, const Shape& expected) {
  const std::string layout = ToString(expected);
  const py::array array = RequireArray<T>(object, name, layout.c_str());
  const Shape shape(array.shape(), array.shape() + array.ndim());
  if (!Matches(shape, expected)) {
    throw std::invalid_argument(name + " must have shape " + layout + ", got " + ToString(shape));
  }
  for (int64_t size : shape) {
    if (size == 0) throw std::invalid_argument(name + " has no elements: its shape is " + ToString(shape));
  }
  auto dense = py::array_t<T, py::array::c_style>::ensure(array);
  if (!dense) throw OutOfMemory("there is no memory for a dense copy of " + name);
  return std::move(dense);
}

template py::array_t<float> ReadWeight<float>(py::handle, const std::string&, const Shape&);
template py::array_t<int8_t> ReadWeight<int8_t>(py::handle, const std::string&, const Shape&);
template py::array_t<uint8_t> ReadWeight<uint8_t>(py::handle, const std::string&, const Shape&);
template py::array_t<int32_t> ReadWeight<int32_t>(py::handle, const std::string&, const Shape&);

template <class Element>
Output<Element> MakeOutput(py::handle out, const Shape& shape, const std::vector<Named>& read) {
  if (out.is_none()) {
    size_t bytes = sizeof(Element);
    for (int64_t size : shape) bytes = CheckedProduct(bytes, static_cast<size_t>(size));
    CheckAffordable(bytes, "the output");
    py::array array = py::array_t<Element>(std::vector<py::ssize_t>(shape.begin(), shape.end()));
    View<Element> view = ViewOf<Element>(array, "out");
    return {std::move(array), std::move(view)};
  }
  const std::string layout = ToString(shape);
  View<Element> view = ReadArray<Element>(out, "out", shape, layout.c_str());
  auto array = py::reinterpret_borrow<py::array>(out);
  if (!array.writeable()) throw std::invalid_argument("out is read-only");
  const Named written("out", &view);
  for (const Named& input : read) {
    const bool allowed = input.may_be_out && Same(written, input);
    if (!allowed && Overlap(written, input)) {
      throw std::invalid_argument(std::string("out shares memory with ") + input.name);
    }
  }
  return {std::move(array), std::move(view)};
}

template <class Element>
void RequireUnitChannels(const View<Element>& view, const std::string& name) {
  if (!view.empty() && view.shape.back() > 1 && view.strides.back() != 1) {
    throw std::invalid_argument(name + " must have its channels next to one another in memory (a stride of " +
                                std::to_string(sizeof(Element)) +
                                (sizeof(Element) == 1 ? " byte), got " : " bytes), got ") +
                                std::to_string(view.strides.back() * static_cast<int64_t>(sizeof(Element))) +
                                "; pass numpy.ascontiguousarray(" + name + ")");
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

template <class Element>
Map MapAt(const View<Element>& nhwc, int64_t n) {
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

#define MVF_INSTANTIATE(Element)                                                                        \
  template View<Element> ReadArray<Element>(py::handle, const std::string&, const Shape&, const char*); \
  template View<Element> ReadArray<Element>(py::handle, const std::string&);                            \
  template Output<Element> MakeOutput<Element>(py::handle, const Shape&, const std::vector<Named>&);    \
  template void RequireUnitChannels<Element>(const View<Element>&, const std::string&);                 \
  template Map MapAt<Element>(const View<Element>&, int64_t);
MVF_INSTANTIATE(float)
MVF_INSTANTIATE(uint8_t)
MVF_INSTANTIATE(int32_t)
#undef MVF_INSTANTIATE

}  // namespace mvf

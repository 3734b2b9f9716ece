// Arrays that Python hands in, checked before anything reads them.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/shape.h"
#include "base/view.h"

namespace mvf {

namespace py = pybind11;

constexpr int64_t kAnySize = -1;

// How an array lies in memory; strides in elements, of any sign, zeros included.
struct Strided {
  Shape shape;
  Shape strides;

  bool empty() const { return std::find(shape.begin(), shape.end(), 0) != shape.end(); }
};

// An array of float, uint8_t or int32_t in memory. Holds no reference.
template <class Element>
struct View : Strided {
  Element* data = nullptr;
};
using FloatView = View<float>;
using ByteView = View<uint8_t>;

// "(8, 3, 256, 256)"
std::string ToString(const Shape& shape);

// TypeError unless `array` is a NumPy array of native elements of that type; ValueError unless its shape is
// `expected` (kAnySize matches any size) and its elements are aligned. `layout` says in messages what is
// expected: "[N, 3, H, W]".
template <class Element>
View<Element> ReadArray(py::handle array, const std::string& name, const Shape& expected, const char* layout);

// The same for any rank of at least 1.
template <class Element>
View<Element> ReadArray(py::handle array, const std::string& name);

// A dense copy of a weight, or the weight itself where it is dense. T: float, int8_t, uint8_t, int32_t.
template <class T>
py::array_t<T> ReadWeight(py::handle array, const std::string& name, const Shape& expected);

// `out` checked: writeable, of that shape, and apart from the arrays that are read; or a new array where it
// is None.
template <class Element>
struct Output {
  py::array array;
  View<Element> view;
};
// An array that is read, where it lies.
struct Named {
  template <class Element>
  Named(const char* name, const View<Element>* view, bool may_be_out = false)
      : name(name), data(view->data), element(sizeof(Element)), view(view), may_be_out(may_be_out) {}

  const char* name;
  const void* data;
  int64_t element;  // bytes
  const Strided* view;
  bool may_be_out;  // `out` may be this very array, element for element
};
template <class Element>
Output<Element> MakeOutput(py::handle out, const Shape& shape, const std::vector<Named>& read);

// ValueError unless consecutive channels are neighbours in memory.
template <class Element>
void RequireUnitChannels(const View<Element>& view, const std::string& name);

// Image `n` of a checked [N, C, H, W], and map `n` of a checked [N, H, W, C] with unit channels.
Image ImageAt(const FloatView& nchw, int64_t n);
template <class Element>
Map MapAt(const View<Element>& nhwc, int64_t n);

}  // namespace mvf

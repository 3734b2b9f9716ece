// Arrays that Python hands in, checked before anything reads them.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/view.h"

namespace mvf {

namespace py = pybind11;

using Shape = std::vector<int64_t>;

constexpr int64_t kAnySize = -1;

// A float32 array in memory; strides in elements, of any sign, zeros included. Holds no reference.
struct FloatView {
  float* data = nullptr;
  Shape shape;
  Shape strides;

  bool empty() const { return std::find(shape.begin(), shape.end(), 0) != shape.end(); }
};

// "(8, 3, 256, 256)"
std::string ToString(const Shape& shape);

// TypeError unless `array` is a NumPy array of native float32; ValueError unless its shape is `expected`
// (kAnySize matches any size) and its elements are aligned. `layout` says in messages what is expected: "[N,
// 3, H, W]".
FloatView ReadFloat32(py::handle array, const std::string& name, const Shape& expected, const char* layout);

// The same for any rank of at least 1.
FloatView ReadFloat32(py::handle array, const std::string& name);

// A dense copy of a weight, or the weight itself where it is dense. T: float, int8_t, uint8_t, int32_t.
template <class T>
py::array_t<T> ReadWeight(py::handle array, const std::string& name, const Shape& expected);

// `out` checked: writeable, of that shape, and apart from the arrays that are read; or a new array where it
// is None.
struct Output {
  py::array array;
  FloatView view;
};
struct Named {
  const char* name;
  const FloatView* view;
  bool may_be_out = false;  // `out` may be this very array, element for element
};
Output MakeOutput(py::handle out, const Shape& shape, const std::vector<Named>& read);

// ValueError unless consecutive channels are neighbours in memory.
void RequireUnitChannels(const FloatView& view, const std::string& name);

// Image `n` of a checked [N, C, H, W], and map `n` of a checked [N, H, W, C] with unit channels.
Image ImageAt(const FloatView& nchw, int64_t n);
Map MapAt(const FloatView& nhwc, int64_t n);

}  // namespace mvf

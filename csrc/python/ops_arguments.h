// What the operations of _C.ops have in common: reading their arguments and making their outputs.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel_table.h"
#include "python/arrays.h"

namespace mvf {

using Object = py::object;

// What every operation takes beside its arrays.
struct OpSettings {
  const KernelTable& table;
  int threads;
};
OpSettings ReadSettings(const Object& isa, const Object& threads);

Activation ReadSilu(const Object& silu);
float ReadEpsilon(const Object& epsilon);
int64_t ReadStride(const Object& stride);

// A weight or bias, dense, that lives until it is packed.
class Weight {
 public:
  // A weight that must be there; one that may be None.
  static Weight Required(const Object& object, const char* name, const Shape& shape);
  static Weight Optional(const Object& object, const char* name, const Shape& shape);

  const float* data() const { return array_ ? static_cast<const float*>(array_.data()) : nullptr; }
  int64_t size(int axis) const { return array_.shape(axis); }

 private:
  py::array array_ = py::reinterpret_steal<py::array>(py::handle());
};

// [N, H, W, C] with at least one pixel and channel; channels are neighbours in memory.
FloatView ReadMap(const Object& object, const char* name);

// [..., C] with at least one channel; channels are neighbours in memory.
FloatView ReadRows(const Object& object, const char* name);

// The shape with another last dimension.
Shape WithChannels(Shape shape, int64_t channels);
void RequireShape(const FloatView& view, const char* name, const Shape& expected);

// What a 3x3 convolution makes of `images` maps of height x width.
Shape ConvolvedShape(int64_t images, int64_t height, int64_t width, int64_t stride, int64_t channels);

// `out`, checked, or a new array; channels are neighbours in memory.
Output MakeOpOutput(const Object& out, const Shape& shape, const std::vector<Named>& read);

// Runs function() with the interpreter's lock released.
template <class Function>
void Unlocked(Function&& function) {
  py::gil_scoped_release unlocked;
  function();
}

}  // namespace mvf

// What the operations of _C.ops have in common: reading their arguments and making their outputs.
#pragma once

#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "python/arrays.h"

namespace mvf {

using Object = py::object;

// What every operation takes beside its arrays.
struct OpSettings {
  const KernelTable& table;
  int threads;
};
OpSettings ReadSettings(const Object& isa, const Object& threads, Precision precision = Precision::kFp32);

Activation ReadSilu(const Object& silu);
float ReadEpsilon(const Object& epsilon);
int64_t ReadStride(const Object& stride);

// A weight or bias, dense, that lives until it is packed.
template <class Element>
class WeightOf {
 public:
  // A weight that must be there; one that may be None.
  static WeightOf Required(const Object& object, const std::string& name, const Shape& shape) {
    WeightOf weight;
    weight.array_ = ReadWeight<Element>(object, name, shape);
    return weight;
  }
  static WeightOf Optional(const Object& object, const std::string& name, const Shape& shape) {
    return object.is_none() ? WeightOf() : Required(object, name, shape);
  }

  const Element* data() const { return array_ ? static_cast<const Element*>(array_.data()) : nullptr; }
  int64_t size(int axis) const { return array_.shape(axis); }
  // Of a weight that is there: where its elements are read.
  View<Element> view(const std::string& name) const { return ReadArray<Element>(array_, name); }

 private:
  py::array array_ = py::reinterpret_steal<py::array>(py::handle());
};
using Weight = WeightOf<float>;

// [N, H, W, C] with at least one pixel and channel; channels are neighbours in memory.
template <class Element = float>
View<Element> ReadMap(const Object& object, const char* name);

// [..., C] with at least one channel; channels are neighbours in memory.
template <class Element = float>
View<Element> ReadRows(const Object& object, const char* name);

// The shape with another last dimension.
Shape WithChannels(Shape shape, int64_t channels);
void RequireShape(const Strided& view, const char* name, const Shape& expected);

// What a 3x3 convolution makes of `images` maps of height x width.
Shape ConvolvedShape(int64_t images, int64_t height, int64_t width, int64_t stride, int64_t channels);

// An inverted residual can add its input where its output is of the same shape.
void RequireResidualFits(bool residual, int64_t stride, int64_t in, int64_t out);

// A tuple (height, width).
struct PatchSize {
  int64_t height;
  int64_t width;
};
PatchSize ReadPatchSize(const Object& patch);
// Heads of q, k and v divide the channels, the patch divides the map.
void RequireDivisible(const Strided& qkv, int64_t heads, PatchSize patch);

// `out`, checked, or a new array; channels are neighbours in memory.
template <class Element = float>
Output<Element> MakeOpOutput(const Object& out, const Shape& shape, const std::vector<Named>& read) {
  Output<Element> output = MakeOutput<Element>(out, shape, read);
  RequireUnitChannels(output.view, "out");
  return output;
}

// Runs function() with the interpreter's lock released.
template <class Function>
void Unlocked(Function&& function) {
  py::gil_scoped_release unlocked;
  function();
}

}  // namespace mvf

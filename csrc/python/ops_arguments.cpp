#include "python/ops_arguments.h"

#include <climits>
#include <stdexcept>

#include "python/bindings.h"
#include "python/scalars.h"

namespace mvf {
namespace {

void RequireNotEmpty(const Strided& view, const char* name, size_t first_axis, const char* layout) {
  for (size_t axis = first_axis; axis < view.shape.size(); ++axis) {
    if (view.shape[axis] > 0) continue;
    throw std::invalid_argument(std::string(name) + " must be " + layout + ", got shape " +
                                ToString(view.shape));
  }
}

}  // namespace

OpSettings ReadSettings(const Object& isa, const Object& threads, Precision precision) {
  return {ReadIsa(isa, precision), ReadThreads(threads)};
}

Activation ReadSilu(const Object& silu) {
  return ReadBool(silu, "silu") ? Activation::kSilu : Activation::kNone;
}

float ReadEpsilon(const Object& value) {
  const float epsilon = ReadFloat(value, "epsilon");
  if (epsilon < 0)
    throw std::invalid_argument("epsilon must not be negative, got " + std::to_string(epsilon));
  return epsilon;
}

int64_t ReadStride(const Object& stride) { return ReadInt(stride, "stride", 1, 2); }

template <class Element>
View<Element> ReadMap(const Object& object, const char* name) {
  View<Element> view =
      ReadArray<Element>(object, name, {kAnySize, kAnySize, kAnySize, kAnySize}, "[N, H, W, C]");
  RequireNotEmpty(view, name, 1, "[N, H, W, C] with H, W and C of at least 1");
  RequireUnitChannels(view, name);
  return view;
}

template <class Element>
View<Element> ReadRows(const Object& object, const char* name) {
  View<Element> view = ReadArray<Element>(object, name);
  RequireNotEmpty(view, name, view.shape.size() - 1, "[..., C] with C of at least 1");
  RequireUnitChannels(view, name);
  return view;
}

template FloatView ReadMap<float>(const Object&, const char*);
template ByteView ReadMap<uint8_t>(const Object&, const char*);
template FloatView ReadRows<float>(const Object&, const char*);
template ByteView ReadRows<uint8_t>(const Object&, const char*);

Shape WithChannels(Shape shape, int64_t channels) {
  shape.back() = channels;
  return shape;
}

void RequireShape(const Strided& view, const char* name, const Shape& expected) {
  if (view.shape == expected) return;
  throw std::invalid_argument(std::string(name) + " must have shape " + ToString(expected) + ", got " +
                              ToString(view.shape));
}

Shape ConvolvedShape(int64_t images, int64_t height, int64_t width, int64_t stride, int64_t channels) {
  return {images, (height - 1) / stride + 1, (width - 1) / stride + 1, channels};
}

void RequireResidualFits(bool residual, int64_t stride, int64_t in, int64_t out) {
  if (!residual || (stride == 1 && in == out)) return;
  throw std::invalid_argument("a residual needs stride 1 and as many output as input channels; got stride " +
                              std::to_string(stride) + ", " + std::to_string(in) + " in, " +
                              std::to_string(out) + " out");
}

PatchSize ReadPatchSize(const Object& patch) {
  if (!py::isinstance<py::tuple>(patch) || py::len(patch) != 2) {
    throw py::type_error("patch must be a tuple (height, width), got " + py::repr(patch).cast<std::string>());
  }
  return {ReadInt(patch[py::int_(0)], "patch[0]", 1, INT_MAX),
          ReadInt(patch[py::int_(1)], "patch[1]", 1, INT_MAX)};
}

void RequireDivisible(const Strided& qkv, int64_t heads, PatchSize patch) {
  if (qkv.shape[3] % (3 * heads) != 0) {
    throw std::invalid_argument("qkv has " + std::to_string(qkv.shape[3]) + " channels, which " +
                                std::to_string(heads) + " heads of q, k and v do not divide");
  }
  if (qkv.shape[1] % patch.height != 0 || qkv.shape[2] % patch.width != 0) {
    throw std::invalid_argument("patch (" + std::to_string(patch.height) + ", " +
                                std::to_string(patch.width) +
                                ") does not divide the map of qkv, whose shape is " + ToString(qkv.shape));
  }
}

}  // namespace mvf

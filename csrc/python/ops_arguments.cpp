#include "python/ops_arguments.h"

#include <stdexcept>

#include "python/bindings.h"
#include "python/dict_reader.h"

namespace mvf {
namespace {

void RequireNotEmpty(const FloatView& view, const char* name, size_t first_axis, const char* layout) {
  for (size_t axis = first_axis; axis < view.shape.size(); ++axis) {
    if (view.shape[axis] > 0) continue;
    throw std::invalid_argument(std::string(name) + " must be " + layout + ", got shape " +
                                ToString(view.shape));
  }
}

}  // namespace

OpSettings ReadSettings(const Object& isa, const Object& threads) {
  return {ReadIsa(isa), ReadThreads(threads)};
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

Weight Weight::Required(const Object& object, const char* name, const Shape& shape) {
  Weight weight;
  weight.array_ = ReadWeight<float>(object, name, shape);
  return weight;
}

Weight Weight::Optional(const Object& object, const char* name, const Shape& shape) {
  return object.is_none() ? Weight() : Required(object, name, shape);
}

FloatView ReadMap(const Object& object, const char* name) {
  FloatView view = ReadFloat32(object, name, {kAnySize, kAnySize, kAnySize, kAnySize}, "[N, H, W, C]");
  RequireNotEmpty(view, name, 1, "[N, H, W, C] with H, W and C of at least 1");
  RequireUnitChannels(view, name);
  return view;
}

FloatView ReadRows(const Object& object, const char* name) {
  FloatView view = ReadFloat32(object, name);
  RequireNotEmpty(view, name, view.shape.size() - 1, "[..., C] with C of at least 1");
  RequireUnitChannels(view, name);
  return view;
}

Shape WithChannels(Shape shape, int64_t channels) {
  shape.back() = channels;
  return shape;
}

void RequireShape(const FloatView& view, const char* name, const Shape& expected) {
  if (view.shape == expected) return;
  throw std::invalid_argument(std::string(name) + " must have shape " + ToString(expected) + ", got " +
                              ToString(view.shape));
}

Shape ConvolvedShape(int64_t images, int64_t height, int64_t width, int64_t stride, int64_t channels) {
  return {images, (height - 1) / stride + 1, (width - 1) / stride + 1, channels};
}

Output MakeOpOutput(const Object& out, const Shape& shape, const std::vector<Named>& read) {
  Output output = MakeOutput(out, shape, read);
  RequireUnitChannels(output.view, "out");
  return output;
}

}  // namespace mvf

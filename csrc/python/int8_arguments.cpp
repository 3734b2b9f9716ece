#include "python/int8_arguments.h"

#include <stdexcept>

#include "python/scalars.h"

namespace mvf {

Int8Layer::Int8Layer(const std::string& prefix, const Int8LayerObjects& objects, const Shape& shape,
                     int out_axis)
    : weight_(WeightOf<int8_t>::Required(objects.weight, prefix + "weight", shape)),
      out_(weight_.size(out_axis)),
      bias_(WeightOf<int32_t>::Optional(objects.bias, prefix + "bias", {out_})),
      multiplier_(Weight::Required(objects.multiplier, prefix + "multiplier", {out_})),
      offset_(Weight::Optional(objects.offset, prefix + "offset", {out_})),
      table_(WeightOf<uint8_t>::Optional(objects.table, prefix + "table", {256})) {
  int64_t inputs = 1;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (static_cast<int>(axis) != out_axis) inputs *= weight_.size(static_cast<int>(axis));
  }
  if (inputs > kMaxInt8Inputs) {
    throw std::invalid_argument(prefix + "weight sums " + std::to_string(inputs) +
                                " products for each output; 32 bits hold " + std::to_string(kMaxInt8Inputs));
  }
}

int32_t ReadZero(const Object& object, const char* name) {
  return static_cast<int32_t>(ReadInt(object, name, 0, 255));
}

float ReadScale(const Object& object, const char* name) {
  const float scale = ReadFloat(object, name);
  if (scale <= 0) {
    throw std::invalid_argument(std::string(name) + " must be above 0, got " +
                                py::repr(object).cast<std::string>());
  }
  return scale;
}

}  // namespace mvf

#include "python/dense_arrays.h"

#include <stdexcept>

namespace mvf {

Dense::Dense(const Object& object, const char* name, const Shape& shape) : name_(name) {
  RequireUnitChannels(ReadArray<float>(object, name), name);
  array_ = Weight::Required(object, name, shape);
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    view_.shape.push_back(array_.size(static_cast<int>(axis)));
  }
  view_.strides.assign(shape.size(), 1);
  for (size_t axis = shape.size() - 1; axis-- > 0;) {
    view_.strides[axis] = view_.strides[axis + 1] * view_.shape[axis + 1];
  }
  view_.data = const_cast<float*>(array_.data());  // nobody writes through it
}

Output<float> MakeDenseOutput(const Object& out, const Shape& shape, const std::vector<Named>& read) {
  Output output = MakeOpOutput(out, shape, read);
  int64_t stride = 1;
  for (size_t axis = shape.size(); axis-- > 0; stride *= shape[axis]) {
    if (shape[axis] > 1 && output.view.strides[axis] != stride) {
      throw std::invalid_argument("out must be dense; pass numpy.empty of its shape");
    }
  }
  return output;
}

}  // namespace mvf

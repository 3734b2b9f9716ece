// Arrays whose elements lie one behind the other, for kernels that know no strides.
#pragma once

#include <vector>

#include "python/ops_arguments.h"

namespace mvf {

// A dense array that is read; a copy of one that is not dense.
class Dense {
 public:
  Dense(const Object& object, const char* name, const Shape& shape);

  const float* data() const { return view_.data; }
  int64_t size(size_t axis) const { return view_.shape[axis]; }
  Named named() const { return {name_, &view_}; }

 private:
  const char* name_;
  Weight array_;
  FloatView view_;
};

// `out`, checked, or a new array.
Output<float> MakeDenseOutput(const Object& out, const Shape& shape, const std::vector<Named>& read);

}  // namespace mvf

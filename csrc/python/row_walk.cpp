#include "python/row_walk.h"

namespace mvf {

RowWalk::RowWalk(const std::vector<const Strided*>& arrays) {
  const Shape& shape = arrays.front()->shape;
  for (size_t axis = 0; axis + 1 < shape.size(); ++axis) {
    Dim dim{shape[axis], {}};
    for (const Strided* array : arrays) dim.strides.push_back(array->strides[axis]);
    if (dim.size == 1) continue;
    bool even = !dims_.empty();
    for (size_t i = 0; even && i < arrays.size(); ++i)
      even = dims_.back().strides[i] == dim.size * dim.strides[i];
    if (even) dim.size *= dims_.back().size;
    if (even) dims_.pop_back();
    dims_.push_back(std::move(dim));
  }
  // A single row may lie anywhere; as far apart as it is long is what dense rows would be.
  if (dims_.empty()) dims_.push_back({1, {}});
  if (dims_.back().strides.empty()) {
    for (const Strided* array : arrays) dims_.back().strides.push_back(array->shape.back());
  }
  for (size_t i = 0; i + 1 < dims_.size(); ++i) runs_ *= dims_[i].size;
  if (dims_.back().size == 0) runs_ = 0;
}

int64_t RowWalk::Offset(size_t array, int64_t run) const {
  int64_t offset = 0;
  for (size_t i = dims_.size() - 1; i-- > 0;) {
    offset += run % dims_[i].size * dims_[i].strides[array];
    run /= dims_[i].size;
  }
  return offset;
}

}  // namespace mvf

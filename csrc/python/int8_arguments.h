// What the operations on bytes have in common: reading a layer's weights.
#pragma once

#include <string>

#include "kernels/int8_kernels.h"
#include "python/ops_arguments.h"

namespace mvf {

// A layer's arguments as they come in.
struct Int8LayerObjects {
  const Object& weight;
  const Object& bias;
  const Object& multiplier;
  const Object& offset;
  const Object& table;
};

// A layer's arrays, dense, that live until they are packed.
class Int8Layer {
 public:
  // `prefix` begins the arguments' names. `shape` is the weight's; its axis `out_axis` is the output
  // channels.
  Int8Layer(const std::string& prefix, const Int8LayerObjects& objects, const Shape& shape, int out_axis);

  int64_t out() const { return out_; }
  bool has_table() const { return table_.data() != nullptr; }
  Int8Weights weights() const { return {weight_.data(), bias_.data()}; }
  Requantization requantization() const { return {multiplier_.data(), offset_.data(), table_.data()}; }

 private:
  WeightOf<int8_t> weight_;
  int64_t out_;
  WeightOf<int32_t> bias_;
  Weight multiplier_;
  Weight offset_;
  WeightOf<uint8_t> table_;
};

// A zero point of bytes.
int32_t ReadZero(const Object& object, const char* name);

// A float above 0.
float ReadScale(const Object& object, const char* name);

}  // namespace mvf

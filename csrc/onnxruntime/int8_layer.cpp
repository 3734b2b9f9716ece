#include "onnxruntime/int8_layer.h"

#include <cmath>
#include <stdexcept>

namespace mvf::ort {

Tensor<int8_t> ReadIntegerWeight(const NodeInfo& info, size_t input, const Dims& expected) {
  Tensor<int8_t> weight = info.Weight<int8_t>(input, expected);
  const int64_t inputs = CountOf(weight.dims) / weight.dims[0];
  if (inputs > kMaxInt8Inputs) {
    throw std::invalid_argument("input " + std::to_string(input) + " sums " + std::to_string(inputs) +
                                " products for each output; 32 bits hold " + std::to_string(kMaxInt8Inputs));
  }
  return weight;
}

Int8Layer ReadLayer(const NodeInfo& info, size_t first, const Dims& expected, bool has_table) {
  Int8Layer layer;
  layer.weight = ReadIntegerWeight(info, first, expected);
  const Dims each{layer.out()};
  layer.bias = info.Weight<int32_t>(first + 1, each).data;
  layer.requantization.multiplier = info.Weight<float>(first + 2, each).data;
  layer.requantization.offset = info.Weight<float>(first + 3, each).data;
  if (has_table) layer.requantization.table = info.Weight<uint8_t>(first + 4, {256}).data;
  return layer;
}

int32_t ReadZero(const NodeInfo& info, const char* name) {
  const int64_t zero = info.Int(name);
  if (zero < 0 || zero > 255) throw std::invalid_argument(std::string(name) + " must be from 0 to 255");
  return static_cast<int32_t>(zero);
}

float ReadPositive(const NodeInfo& info, const char* name) {
  const float value = info.Float(name);
  if (!(value > 0) || !std::isfinite(value))
    throw std::invalid_argument(std::string(name) + " must be positive");
  return value;
}

}  // namespace mvf::ort

// One layer of integer weights among a node's inputs: weight, bias, multiplier, offset and, where there is
// one, table, as int8_kernels.h has them.
#pragma once

#include "kernels/int8_kernels.h"
#include "onnxruntime/node.h"

namespace mvf::ort {

constexpr size_t kLayerInputs = 5;
constexpr size_t kLayerInputsWithoutTable = 4;

struct Int8Layer {
  Tensor<int8_t> weight;
  const int32_t* bias;
  Requantization requantization;

  int64_t out() const { return weight.dims[0]; }
};

// info.Weight<int8_t>, which also throws std::invalid_argument where so many products do not fit in the sums.
Tensor<int8_t> ReadIntegerWeight(const NodeInfo& info, size_t input, const Dims& expected);

// The layer whose weight is input `first`, of the shape `expected`.
Int8Layer ReadLayer(const NodeInfo& info, size_t first, const Dims& expected, bool has_table);

// Of bytes. Throws std::invalid_argument for a number that is none.
int32_t ReadZero(const NodeInfo& info, const char* name);

// Throws std::invalid_argument for what is not positive.
float ReadPositive(const NodeInfo& info, const char* name);

}  // namespace mvf::ort

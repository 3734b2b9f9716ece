// Rows of channels, [..., C], as nodes read them.
#pragma once

#include <stdexcept>
#include <string>

#include "onnxruntime/node.h"

namespace mvf::ort {

// How many rows of `channels` a tensor has. Throws std::invalid_argument for one of another width.
inline int64_t RowsOf(size_t input, const Dims& dims, int64_t channels) {
  if (dims.empty() || dims.back() != channels) {
    throw std::invalid_argument("input " + std::to_string(input) + " must be [..., " +
                                std::to_string(channels) + "], got " + ToString(dims));
  }
  return CountOf(dims) / channels;
}

}  // namespace mvf::ort

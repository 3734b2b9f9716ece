// JSON text as a tree of data. Whatever the text, reading it ends in a tree or in an exception.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/data_value.h"

namespace mvf {

// Where the arrays lie that a tree has by name.
class ArraySource {
 public:
  virtual ~ArraySource() = default;
  // The array called `array`, dense, for as long as this lives. `name` opens messages.
  virtual const void* Array(const std::string& array, const std::string& name, ElementType type,
                            const Shape& shape) = 0;
};

// `what` opens messages. A string in the tree may stand for an array of `arrays`, which outlives the tree.
// Throws std::invalid_argument for text that is not JSON, is nested deeper than any of ours, or names a key
// twice.
std::unique_ptr<DataValue> ParseJson(std::string_view text, const std::string& what,
                                     ArraySource* arrays = nullptr);

}  // namespace mvf

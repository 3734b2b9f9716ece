// An ImageRule from what Python's Preprocessing.to_dict() gives, in a file or as it is.
#pragma once

#include <stdexcept>
#include <string>

#include "engine/data_map.h"
#include "image/rule.h"

namespace mvf {

// The place of a string among `names`. These throw std::invalid_argument that names the key.
template <size_t count>
size_t Choice(DataMap& reader, const char* key, const char* const (&names)[count]) {
  const std::string value = reader.String(key);
  std::string known;
  for (size_t i = 0; i < count; ++i) {
    if (value == names[i]) return i;
    known += (i ? ", " : "") + std::string(names[i]);
  }
  throw std::invalid_argument(reader.NameOf(key) + " is '" + value.substr(0, 100) + "'; expected one of " +
                              known);
}

// [height, width]; {0, 0} where there is none.
ImageSize ReadSize(DataMap& reader, const char* key);

ImageRule ReadRule(DataMap reader);

}  // namespace mvf

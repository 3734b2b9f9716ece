// A value in a tree of data, wherever that lies: Python's dicts and arrays, or a file's JSON and tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "base/shape.h"

namespace mvf {

enum class ElementType { kFloat, kInt8, kUint8, kInt32 };

template <class T>
constexpr ElementType ElementTypeOf() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, int8_t> || std::is_same_v<T, uint8_t> ||
                std::is_same_v<T, int32_t>);
  if (std::is_same_v<T, float>) return ElementType::kFloat;
  if (std::is_same_v<T, int8_t>) return ElementType::kInt8;
  return std::is_same_v<T, uint8_t> ? ElementType::kUint8 : ElementType::kInt32;
}

// `name` says in messages which value it is: "plan['steps'][3]['input']". What is of another type is refused,
// by std::invalid_argument or, in a tree of Python's, by TypeError.
class DataValue {
 public:
  virtual ~DataValue() = default;

  virtual bool IsNone() const = 0;
  // A whole number (a bool is none) within `least` and `most`.
  virtual int64_t Int(const std::string& name, int64_t least, int64_t most) const = 0;
  virtual bool Bool(const std::string& name) const = 0;
  // Finite.
  virtual float Float(const std::string& name) const = 0;
  virtual std::string String(const std::string& name) const = 0;
  virtual std::vector<std::unique_ptr<DataValue>> List(const std::string& name) const = 0;
  virtual std::vector<std::string> Keys(const std::string& name) const = 0;
  // Of a map; null where it has no such key.
  virtual std::unique_ptr<DataValue> Find(const char* key) const = 0;
  // A dense array that outlives this value; its maker says for how long.
  virtual const void* Array(const std::string& name, ElementType type, const Shape& shape) const = 0;
};

}  // namespace mvf

// Takes values out of a map, with the type that each must have.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/data_value.h"

namespace mvf {

class DataMap {
 public:
  // `where` names the map in messages: "plan['steps'][3]".
  DataMap(std::unique_ptr<DataValue> map, std::string where);

  const std::string& where() const { return where_; }
  void set_where(std::string where) { where_ = std::move(where); }
  std::string NameOf(const char* key) const { return where_ + "['" + key + "']"; }

  std::unique_ptr<DataValue> Required(const char* key);
  // Null where the key is not there, or its value is none.
  std::unique_ptr<DataValue> Optional(const char* key);

  int64_t Int(const char* key, int64_t least, int64_t most) {
    return Required(key)->Int(NameOf(key), least, most);
  }
  int64_t Int(const char* key, int64_t least, int64_t most, int64_t otherwise);
  bool Bool(const char* key, bool otherwise);
  float Float(const char* key) { return Required(key)->Float(NameOf(key)); }
  float Float(const char* key, float otherwise);
  std::string String(const char* key) { return Required(key)->String(NameOf(key)); }
  std::vector<std::unique_ptr<DataValue>> List(const char* key) { return Required(key)->List(NameOf(key)); }
  DataMap Map(const char* key) { return DataMap(Required(key), NameOf(key)); }
  template <class T = float>
  const T* Array(const char* key, const Shape& shape) {
    return static_cast<const T*>(Required(key)->Array(NameOf(key), ElementTypeOf<T>(), shape));
  }

  // std::invalid_argument where the map has a key that nothing has asked for.
  void Finish() const;

 private:
  std::unique_ptr<DataValue> map_;
  std::string where_;
  std::set<std::string> keys_;
  std::set<std::string> asked_;
};

}  // namespace mvf

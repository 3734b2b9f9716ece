// Takes values out of a Python dict, with the type that each must have.
#pragma once

#include <set>
#include <string>

#include "python/arrays.h"

namespace mvf {

// An int (or what counts as one, a bool not) within `least` and `most`.
int64_t ReadInt(py::handle value, const std::string& name, int64_t least, int64_t most);
bool ReadBool(py::handle value, const std::string& name);
// An int or a float, finite.
float ReadFloat(py::handle value, const std::string& name);
std::string ReadString(py::handle value, const std::string& name);

class DictReader {
 public:
  // `where` names the dict in messages: "plan['steps'][3]".
  DictReader(py::handle object, std::string where);

  const std::string& where() const { return where_; }
  void set_where(std::string where) { where_ = std::move(where); }
  std::string NameOf(const char* key) const { return where_ + "['" + key + "']"; }

  py::object Required(const char* key);
  // None where the key is not there.
  py::object Optional(const char* key);

  int64_t Int(const char* key, int64_t least, int64_t most) {
    return ReadInt(Required(key), NameOf(key), least, most);
  }
  int64_t Int(const char* key, int64_t least, int64_t most, int64_t otherwise);
  bool Bool(const char* key, bool otherwise);
  float Float(const char* key) { return ReadFloat(Required(key), NameOf(key)); }
  float Float(const char* key, float otherwise);
  py::list List(const char* key);
  DictReader Dict(const char* key) { return DictReader(Required(key), NameOf(key)); }
  template <class T = float>
  py::array_t<T> Weight(const char* key, const Shape& shape) {
    return ReadWeight<T>(Required(key), NameOf(key), shape);
  }

  // ValueError where the dict has a key that nothing has asked for.
  void Finish() const;

 private:
  py::dict dict_;
  std::string where_;
  std::set<std::string> asked_;
};

}  // namespace mvf

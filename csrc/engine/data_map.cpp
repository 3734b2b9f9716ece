#include "engine/data_map.h"

#include <stdexcept>

namespace mvf {

DataMap::DataMap(std::unique_ptr<DataValue> map, std::string where)
    : map_(std::move(map)), where_(std::move(where)) {
  for (std::string& key : map_->Keys(where_)) keys_.insert(std::move(key));
}

std::unique_ptr<DataValue> DataMap::Required(const char* key) {
  asked_.insert(key);
  if (keys_.count(key) == 0) throw std::invalid_argument(where_ + " lacks the key '" + key + "'");
  return map_->Find(key);
}

std::unique_ptr<DataValue> DataMap::Optional(const char* key) {
  asked_.insert(key);
  std::unique_ptr<DataValue> value = map_->Find(key);
  if (value && value->IsNone()) value.reset();
  return value;
}

int64_t DataMap::Int(const char* key, int64_t least, int64_t most, int64_t otherwise) {
  const std::unique_ptr<DataValue> value = Optional(key);
  return value ? value->Int(NameOf(key), least, most) : otherwise;
}

bool DataMap::Bool(const char* key, bool otherwise) {
  const std::unique_ptr<DataValue> value = Optional(key);
  return value ? value->Bool(NameOf(key)) : otherwise;
}

float DataMap::Float(const char* key, float otherwise) {
  const std::unique_ptr<DataValue> value = Optional(key);
  return value ? value->Float(NameOf(key)) : otherwise;
}

void DataMap::Finish() const {
  for (const std::string& key : keys_) {
    if (asked_.count(key) == 0) throw std::invalid_argument(where_ + " has an unknown key '" + key + "'");
  }
}

}  // namespace mvf

#include "model_file/json.h"

#include <cmath>
#include <stdexcept>

#define PICOJSON_USE_INT64
#include <picojson.h>

namespace mvf {
namespace {

using Json = picojson::value;

constexpr int kMaxDepth = 16;

// picojson's own contexts count arrays only, and let a key come twice.
class StrictContext {
 public:
  StrictContext(Json* out, int depth) : out_(out), depth_(depth) {}

  bool set_null() { return Set(Json()); }
  bool set_bool(bool value) { return Set(Json(value)); }
  bool set_int64(int64_t value) { return Set(Json(value)); }
  bool set_number(double value) { return std::isfinite(value) && Set(Json(value)); }
  template <class Iterator>
  bool parse_string(picojson::input<Iterator>& in) {
    Set(Json(picojson::string_type, false));
    return picojson::_parse_string(out_->get<std::string>(), in);
  }
  bool parse_array_start() { return depth_ < kMaxDepth && Set(Json(picojson::array_type, false)); }
  template <class Iterator>
  bool parse_array_item(picojson::input<Iterator>& in, size_t) {
    auto& items = out_->get<picojson::array>();
    items.emplace_back();
    return Parse(&items.back(), in);
  }
  bool parse_array_stop(size_t) { return true; }
  bool parse_object_start() { return depth_ < kMaxDepth && Set(Json(picojson::object_type, false)); }
  template <class Iterator>
  bool parse_object_item(picojson::input<Iterator>& in, const std::string& key) {
    const auto [item, is_new] = out_->get<picojson::object>().try_emplace(key);
    return is_new && Parse(&item->second, in);
  }
  bool parse_object_stop() { return true; }

 private:
  bool Set(Json value) {
    *out_ = std::move(value);
    return true;
  }
  template <class Iterator>
  bool Parse(Json* out, picojson::input<Iterator>& in) const {
    StrictContext inner(out, depth_ + 1);
    return picojson::_parse(inner, in);
  }

  Json* out_;
  int depth_;
};

class JsonValue : public DataValue {
 public:
  // `json` lies in the tree whose root is `root`.
  JsonValue(std::shared_ptr<const Json> root, const Json& json, ArraySource* arrays)
      : root_(std::move(root)), json_(json), arrays_(arrays) {}

  bool IsNone() const override { return json_.is<picojson::null>(); }

  int64_t Int(const std::string& name, int64_t least, int64_t most) const override {
    Require(json_.is<int64_t>(), name, "a whole number");
    const auto value = json_.get<int64_t>();
    if (value < least || value > most) {
      throw std::invalid_argument(name + " must be from " + std::to_string(least) + " to " +
                                  std::to_string(most) + ", got " + std::to_string(value));
    }
    return value;
  }

  bool Bool(const std::string& name) const override {
    Require(json_.is<bool>(), name, "true or false");
    return json_.get<bool>();
  }

  float Float(const std::string& name) const override {
    // Not get<double>() for both: it makes a double of a whole number, in the tree.
    Require(json_.is<double>(), name, "a number");
    const auto value = static_cast<float>(json_.is<int64_t>() ? static_cast<double>(json_.get<int64_t>())
                                                              : json_.get<double>());
    if (!std::isfinite(value)) throw std::invalid_argument(name + " must be finite");
    return value;
  }

  std::string String(const std::string& name) const override {
    Require(json_.is<std::string>(), name, "a string");
    return json_.get<std::string>();
  }

  std::vector<std::unique_ptr<DataValue>> List(const std::string& name) const override {
    Require(json_.is<picojson::array>(), name, "a list");
    std::vector<std::unique_ptr<DataValue>> values;
    for (const Json& item : json_.get<picojson::array>()) values.push_back(Value(item));
    return values;
  }

  std::vector<std::string> Keys(const std::string& name) const override {
    Require(json_.is<picojson::object>(), name, "a map");
    std::vector<std::string> keys;
    for (const auto& [key, value] : json_.get<picojson::object>()) keys.push_back(key);
    return keys;
  }

  std::unique_ptr<DataValue> Find(const char* key) const override {
    const auto& items = json_.get<picojson::object>();
    const auto item = items.find(key);
    return item == items.end() ? nullptr : Value(item->second);
  }

  const void* Array(const std::string& name, ElementType type, const Shape& shape) const override {
    if (arrays_ == nullptr) throw std::invalid_argument(name + " cannot be an array");
    return arrays_->Array(String(name), name, type, shape);
  }

 private:
  static void Require(bool condition, const std::string& name, const char* expected) {
    if (!condition) throw std::invalid_argument(name + " must be " + expected);
  }
  std::unique_ptr<DataValue> Value(const Json& json) const {
    return std::make_unique<JsonValue>(root_, json, arrays_);
  }

  std::shared_ptr<const Json> root_;
  const Json& json_;
  ArraySource* arrays_;
};

}  // namespace

std::unique_ptr<DataValue> ParseJson(std::string_view text, const std::string& what, ArraySource* arrays) {
  const auto root = std::make_shared<Json>();
  picojson::input<const char*> in(text.data(), text.data() + text.size());
  StrictContext context(root.get(), 0);
  const bool parsed = picojson::_parse(context, in);
  in.skip_ws();
  if (!parsed || in.cur() != text.data() + text.size()) {
    throw std::invalid_argument(what + " is not JSON, is nested deeper than " + std::to_string(kMaxDepth) +
                                ", or names a key twice: see byte " + std::to_string(in.cur() - text.data()));
  }
  return std::make_unique<JsonValue>(root, *root, arrays);
}

}  // namespace mvf

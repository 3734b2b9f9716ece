#include "python/plan_dict.h"

#include "engine/plan_reader.h"
#include "model_file/rule_reader.h"
#include "python/scalars.h"

namespace mvf {
namespace {

using Arrays = std::vector<py::array>;

// Puts the arrays that are asked for into `arrays`, which keeps them alive.
class PythonValue : public DataValue {
 public:
  PythonValue(py::handle object, Arrays& arrays)
      : object_(py::reinterpret_borrow<py::object>(object)), arrays_(arrays) {}

  bool IsNone() const override { return object_.is_none(); }
  int64_t Int(const std::string& name, int64_t least, int64_t most) const override {
    return ReadInt(object_, name, least, most);
  }
  bool Bool(const std::string& name) const override { return ReadBool(object_, name); }
  float Float(const std::string& name) const override { return ReadFloat(object_, name); }
  std::string String(const std::string& name) const override { return ReadString(object_, name); }

  std::vector<std::unique_ptr<DataValue>> List(const std::string& name) const override {
    if (!py::isinstance<py::list>(object_) && !py::isinstance<py::tuple>(object_)) {
      WrongType(name, "a list", object_);
    }
    std::vector<std::unique_ptr<DataValue>> values;
    for (py::handle value : py::list(object_)) values.push_back(Value(value));
    return values;
  }

  std::vector<std::string> Keys(const std::string& name) const override {
    if (!py::isinstance<py::dict>(object_)) WrongType(name, "a dict", object_);
    std::vector<std::string> keys;
    for (const auto& [key, value] : py::reinterpret_borrow<py::dict>(object_)) {
      keys.push_back(ReadString(key, "a key of " + name));
    }
    return keys;
  }

  std::unique_ptr<DataValue> Find(const char* key) const override {
    const auto dict = py::reinterpret_borrow<py::dict>(object_);
    return dict.contains(key) ? Value(dict[key]) : nullptr;
  }

  const void* Array(const std::string& name, ElementType type, const Shape& shape) const override {
    switch (type) {
      case ElementType::kFloat:
        return Keep(ReadWeight<float>(object_, name, shape));
      case ElementType::kInt8:
        return Keep(ReadWeight<int8_t>(object_, name, shape));
      case ElementType::kUint8:
        return Keep(ReadWeight<uint8_t>(object_, name, shape));
      default:
        return Keep(ReadWeight<int32_t>(object_, name, shape));
    }
  }

 private:
  std::unique_ptr<DataValue> Value(py::handle object) const {
    return std::make_unique<PythonValue>(object, arrays_);
  }

  const void* Keep(py::array array) const {
    arrays_.push_back(std::move(array));
    return arrays_.back().data();
  }

  py::object object_;
  Arrays& arrays_;
};

}  // namespace

PlanWithArrays ReadPlanDict(py::handle plan) {
  PlanWithArrays result;
  result.plan = ReadPlan(std::make_unique<PythonValue>(plan, result.arrays));
  return result;
}

ImageRule ReadRuleDict(py::handle rule) {
  Arrays none;
  return ReadRule(DataMap(std::make_unique<PythonValue>(rule, none), "rule"));
}

}  // namespace mvf

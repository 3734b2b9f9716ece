#include "python/dict_reader.h"

#include <cmath>
#include <stdexcept>

namespace mvf {
namespace {

[[noreturn]] void WrongType(const std::string& name, const char* expected, py::handle value) {
  throw py::type_error(name + " must be " + expected + ", got " +
                       py::repr(value).cast<std::string>().substr(0, 80));
}

}  // namespace

int64_t ReadInt(py::handle value, const std::string& name, int64_t least, int64_t most) {
  if (PyBool_Check(value.ptr()) || !PyIndex_Check(value.ptr())) WrongType(name, "an int", value);
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0 || number < least || number > most) {
    throw std::invalid_argument(name + " must be from " + std::to_string(least) + " to " +
                                std::to_string(most) + ", got " +
                                py::repr(value).cast<std::string>().substr(0, 80));
  }
  return number;
}

bool ReadBool(py::handle value, const std::string& name) {
  if (!PyBool_Check(value.ptr())) WrongType(name, "a bool", value);
  return value.ptr() == Py_True;
}

float ReadFloat(py::handle value, const std::string& name) {
  if (PyBool_Check(value.ptr()) || !(PyFloat_Check(value.ptr()) || PyIndex_Check(value.ptr()))) {
    WrongType(name, "a float", value);
  }
  const double number = PyFloat_AsDouble(value.ptr());
  if (number == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (!std::isfinite(static_cast<float>(number))) throw std::invalid_argument(name + " must be finite");
  return static_cast<float>(number);
}

std::string ReadString(py::handle value, const std::string& name) {
  if (!py::isinstance<py::str>(value)) WrongType(name, "a str", value);
  return value.cast<std::string>();
}

DictReader::DictReader(py::handle object, std::string where) : where_(std::move(where)) {
  if (!py::isinstance<py::dict>(object)) WrongType(where_, "a dict", object);
  dict_ = py::reinterpret_borrow<py::dict>(object);
}

py::object DictReader::Required(const char* key) {
  py::object value = Optional(key);
  if (!dict_.contains(key)) throw std::invalid_argument(where_ + " lacks the key '" + key + "'");
  return value;
}

py::object DictReader::Optional(const char* key) {
  asked_.insert(key);
  return dict_.contains(key) ? py::object(dict_[key]) : py::none();
}

int64_t DictReader::Int(const char* key, int64_t least, int64_t most, int64_t otherwise) {
  const py::object value = Optional(key);
  return value.is_none() ? otherwise : ReadInt(value, NameOf(key), least, most);
}

bool DictReader::Bool(const char* key, bool otherwise) {
  const py::object value = Optional(key);
  return value.is_none() ? otherwise : ReadBool(value, NameOf(key));
}

float DictReader::Float(const char* key, float otherwise) {
  const py::object value = Optional(key);
  return value.is_none() ? otherwise : ReadFloat(value, NameOf(key));
}

py::list DictReader::List(const char* key) {
  const py::object value = Required(key);
  if (!py::isinstance<py::list>(value) && !py::isinstance<py::tuple>(value))
    WrongType(NameOf(key), "a list", value);
  return py::list(value);
}

void DictReader::Finish() const {
  for (const auto& [key, value] : dict_) {
    const std::string name = ReadString(key, "a key of " + where_);
    if (asked_.count(name) == 0) throw std::invalid_argument(where_ + " has an unknown key '" + name + "'");
  }
}

}  // namespace mvf

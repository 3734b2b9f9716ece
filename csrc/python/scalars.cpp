#include "python/scalars.h"

#include <cmath>
#include <stdexcept>

namespace mvf {

void WrongType(const std::string& name, const char* expected, py::handle value) {
  throw py::type_error(name + " must be " + expected + ", got " +
                       py::repr(value).cast<std::string>().substr(0, 80));
}

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

}  // namespace mvf

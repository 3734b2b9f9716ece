// Plain values that Python hands in, with the type that each must have.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace mvf {

namespace py = pybind11;

// TypeError that says what was `expected` of the value called `name`.
[[noreturn]] void WrongType(const std::string& name, const char* expected, py::handle value);

// An int (or what counts as one, a bool not) within `least` and `most`.
int64_t ReadInt(py::handle value, const std::string& name, int64_t least, int64_t most);
bool ReadBool(py::handle value, const std::string& name);
// An int or a float, finite.
float ReadFloat(py::handle value, const std::string& name);
std::string ReadString(py::handle value, const std::string& name);

}  // namespace mvf

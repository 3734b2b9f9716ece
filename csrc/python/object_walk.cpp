// Walks over many Python objects that have fallen out of the caches: what a forward pass checks beforehand.
// An engine's weights push everything else out, and following pointers one after the other from Python costs
// a trip to memory each.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "python/bindings.h"

namespace py = pybind11;

namespace mvf {
namespace {

// The values themselves are not touched, unlike by any loop in Python, which counts references.
py::bytes ValueAddresses(const py::list& dicts) {
  std::string addresses;
  for (const py::handle dict : dicts) {
    if (!PyDict_Check(dict.ptr())) throw py::type_error("value_addresses takes a list of dicts");
    Py_ssize_t position = 0;
    PyObject* value = nullptr;
    while (PyDict_Next(dict.ptr(), &position, nullptr, &value)) {
      addresses.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
  }
  return py::bytes(addresses);
}

// A hint cannot fault, so the addresses may be stale.
void Prefetch(const py::array_t<uintptr_t, py::array::c_style>& addresses) {
  const uintptr_t* first = addresses.data();
  for (py::ssize_t i = 0; i < addresses.size(); ++i) {
    __builtin_prefetch(reinterpret_cast<const void*>(first[i]));
  }
}

}  // namespace

void BindObjectWalk(py::module_& module) {
  module.def("value_addresses", &ValueAddresses, py::arg("dicts"),
             "Identities of all the dicts' values, in order, as the bytes of their addresses.");
  module.def("prefetch", &Prefetch, py::arg("addresses"),
             "Asks the CPU to fetch the cache lines at these addresses, which need not be valid.");
}

}  // namespace mvf

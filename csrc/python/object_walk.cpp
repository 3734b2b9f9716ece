// Walks over many Python objects that have fallen out of the caches: what a forward pass checks beforehand.
// An engine's weights push everything else out, and following pointers one after the other from Python costs
// a trip to memory each.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "python/bindings.h"

namespace py = pybind11;

namespace mvf {
namespace {

// A descriptor of an attribute is asked for its value, everything else is called.
py::object Read(const py::handle reader, const py::handle object) {
  PyTypeObject* type = Py_TYPE(reader.ptr());
  PyObject* value = PyCallable_Check(reader.ptr()) || type->tp_descr_get == nullptr
                        ? PyObject_CallOneArg(reader.ptr(), object.ptr())
                        : type->tp_descr_get(reader.ptr(), object.ptr(),
                                             reinterpret_cast<PyObject*>(Py_TYPE(object.ptr())));
  if (value == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(value);
}

// A dict keeps its entries in a table of its own, which only the dict knows the place of. All are asked for
// before the first is walked, so that the trips to memory overlap.
void PrefetchEntries(const py::list& dicts) {
  constexpr int kCacheLine = 64;
  for (const py::handle dict : dicts) {
    if (!PyDict_Check(dict.ptr())) throw py::type_error("fingerprints are of lists of dicts");
    const PyDictObject* object = reinterpret_cast<PyDictObject*>(dict.ptr());
    const char* table = reinterpret_cast<const char*>(object->ma_keys);
    __builtin_prefetch(table);
    __builtin_prefetch(table + kCacheLine);
  }
}

// Hands `visit` the identities of all the dicts' values and then what the readers read, until it answers
// false; whether it never did. The values themselves are not touched, unlike by any loop in Python, which
// counts references.
template <typename Visit>
bool Walk(const py::list& dicts, const py::list& objects, const py::tuple& readers, Visit visit) {
  PrefetchEntries(dicts);
  for (const py::handle dict : dicts) {
    Py_ssize_t position = 0;
    PyObject* value = nullptr;
    while (PyDict_Next(dict.ptr(), &position, nullptr, &value)) {
      if (!visit(reinterpret_cast<uintptr_t>(value))) return false;
    }
  }
  for (const py::handle object : objects) {
    for (const py::handle reader : readers) {
      const unsigned long long value = PyLong_AsUnsignedLongLong(Read(reader, object).ptr());
      if (PyErr_Occurred()) throw py::error_already_set();
      if (!visit(value)) return false;
    }
  }
  return true;
}

py::bytes Fingerprint(const py::list& dicts, const py::list& objects, const py::tuple& readers) {
  std::vector<uint64_t> values;
  Walk(dicts, objects, readers, [&](uint64_t value) {
    values.push_back(value);
    return true;
  });
  return py::bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(uint64_t));
}

// As comparing with a new fingerprint does, without the memory that one takes.
bool HasFingerprint(const py::bytes& fingerprint, const py::list& dicts, const py::list& objects,
                    const py::tuple& readers) {
  std::string_view rest = fingerprint;
  const auto is_next = [&](uint64_t value) {
    if (rest.size() < sizeof(value) || std::memcmp(rest.data(), &value, sizeof(value)) != 0) return false;
    rest.remove_prefix(sizeof(value));
    return true;
  };
  return Walk(dicts, objects, readers, is_next) && rest.empty();
}

bool AnyTrue(const py::list& dicts, const py::str& key) {
  for (const py::handle dict : dicts) {
    if (!PyDict_Check(dict.ptr())) throw py::type_error("any_true takes a list of dicts");
    PyObject* value = PyDict_GetItemWithError(dict.ptr(), key.ptr());
    if (value == nullptr && !PyErr_Occurred()) throw py::key_error(std::string(key));
    const int is_true = value == nullptr ? -1 : PyObject_IsTrue(value);
    if (is_true < 0) throw py::error_already_set();
    if (is_true) return true;
  }
  return false;
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
  module.def(
      "fingerprint", &Fingerprint, py::arg("dicts"), py::arg("objects"), py::arg("readers"),
      "Identities of all the dicts' values, in order, and then the integers that the readers, functions or "
      "descriptors of attributes, read of each object.");
  module.def("has_fingerprint", &HasFingerprint, py::arg("fingerprint"), py::arg("dicts"), py::arg("objects"),
             py::arg("readers"), "Whether `fingerprint` of these gives this again.");
  module.def("any_true", &AnyTrue, py::arg("dicts"), py::arg("key"),
             "Whether a dict's value of `key` is true.");
  module.def("prefetch", &Prefetch, py::arg("addresses"),
             "Asks the CPU to fetch the cache lines at these addresses, which need not be valid.");
}

}  // namespace mvf

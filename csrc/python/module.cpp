// The Python module mobilevit_fast._C.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/cpu_count.h"
#include "base/isa.h"
#include "kernels/dispatch.h"
#include "python/bindings.h"
#include "python/dict_reader.h"

namespace mvf {

const KernelTable& ReadIsa(const py::object& isa) {
  return isa.is_none() ? BestTable() : TableByName(ReadString(isa, "isa"));
}

int ReadThreads(const py::object& threads) {
  return threads.is_none() ? DefaultThreads() : static_cast<int>(ReadInt(threads, "threads", 1, kMaxThreads));
}

}  // namespace mvf

PYBIND11_MODULE(_C, module) {
  using namespace mvf;
  module.doc() = "Native engine and kernels of mobilevit_fast.";
  module.attr("max_threads") = kMaxThreads;
  module.def(
      "isa_tables",
      [] {
        std::vector<std::string> names;
        for (const KernelTable* table : RunnableTables()) names.emplace_back(table->name);
        return names;
      },
      "Names of the kernel tables that can run here, slowest first, up to MOBILEVIT_FAST_ISA.");
  module.def(
      "best_isa", [] { return std::string(BestTable().name); },
      "Name of the kernel table that runs where none is named.");
  module.def(
      "cpu_features",
      [] {
        py::dict features;
        for (const CpuFeature& feature : CpuFeatures())
          features[py::str(std::string(feature.name))] = feature.usable;
        return features;
      },
      "Whether the CPU and its operating system offer each feature that a kernel table may need.");
  module.def("default_threads", &DefaultThreads,
             "Cores that this process may use, by its affinity mask and its control group's quota.");
  BindEngine(module);

  py::module_ ops = module.def_submodule("ops", "Single operations on float32 NumPy arrays.");
  BindRowOps(ops);
  BindConvolutionOps(ops);
  BindMapOps(ops);
}

// The Python module mobilevit_fast._C.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/cpu_count.h"
#include "base/isa.h"
#include "engine/peak.h"
#include "kernels/dispatch.h"
#include "python/bindings.h"
#include "python/scalars.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace mvf {

const KernelTable& ReadIsa(const py::object& isa, Precision precision) {
  return isa.is_none() ? BestTable(precision) : TableByName(ReadString(isa, "isa"), precision);
}

Precision ReadPrecision(const py::object& precision) {
  const std::string name = ReadString(precision, "precision");
  if (name == "fp32") return Precision::kFp32;
  if (name == "bf16") return Precision::kBf16;
  if (name == "fp16") return Precision::kFp16;
  if (name == "int8") return Precision::kInt8;
  throw std::invalid_argument("precision must be 'fp32', 'bf16', 'fp16' or 'int8', got '" + name + "'");
}

int ReadThreads(const py::object& threads) {
  return threads.is_none() ? DefaultThreads() : static_cast<int>(ReadInt(threads, "threads", 1, kMaxThreads));
}

}  // namespace mvf

PYBIND11_MODULE(_C, module) {
  using namespace mvf;
  module.doc() = "Native engine and kernels of mobilevit_fast.";
  module.attr("max_threads") = kMaxThreads;
#if defined(MVF_ONNXRUNTIME)
  module.attr("has_onnxruntime_operations") = true;
#else
  module.attr("has_onnxruntime_operations") = false;
#endif
  module.def(
      "isa_tables",
      [](const py::object& precision) {
        std::vector<std::string> names;
        for (const KernelTable* table : RunnableTables(ReadPrecision(precision)))
          names.emplace_back(table->name);
        return names;
      },
      py::arg("precision") = "fp32",
      "Names of that precision's kernel tables that can run here, slowest first, up to MOBILEVIT_FAST_ISA.");
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
  module.def(
      "release_free_memory",
      [] {
        py::gil_scoped_release unlocked;
#if defined(__GLIBC__)
        malloc_trim(0);
#endif
      },
      "Gives what was freed and the C library keeps back to the system; with glibc, others keep little.");
  module.def(
      "measure_peak",
      [](const py::object& isa, const py::object& precision) {
        const Precision computed = ReadPrecision(precision);
        const KernelTable& table = ReadIsa(isa, computed);
        constexpr double kSeconds = 0.5;
        py::gil_scoped_release unlocked;
        return computed == Precision::kInt8 ? MeasureInt8Peak(table, kSeconds) : MeasurePeak(table, kSeconds);
      },
      py::arg("isa") = py::none(), py::arg("precision") = "fp32",
      "Multiply-accumulates a second of one thread at best, on a matrix product that fits its caches.");
  BindEngine(module);
  BindCuda(module);
  BindImages(module);
  BindObjectWalk(module);

  py::module_ ops = module.def_submodule("ops", "Single operations on NumPy arrays, float32 or 8-bit.");
  BindRowOps(ops);
  BindConvolutionOps(ops);
  BindMapOps(ops);
  BindTrainingOps(ops);
  BindTrainingLayerOps(ops);
  BindInt8RowOps(ops);
  BindInt8MapOps(ops);
}

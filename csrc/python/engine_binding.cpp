// Python's Engine: arrays in, arrays out, the interpreter's lock released in between.
#include <memory>
#include <stdexcept>

#include "base/memory.h"
#include "engine/engine.h"
#include "python/arrays.h"
#include "python/bindings.h"
#include "python/engine_answers.h"
#include "python/plan_dict.h"
#include "python/scalars.h"

namespace mvf {
namespace {

std::unique_ptr<Engine> MakeEngine(py::handle dict, const py::object& isa, const py::object& threads,
                                   const py::object& precision) {
  const KernelTable& table = ReadIsa(isa, ReadPrecision(precision));
  const int count = ReadThreads(threads);
  PlanWithArrays plan = ReadPlanDict(dict);  // its arrays live until the engine has packed them
  py::gil_scoped_release unlocked;
  return std::make_unique<Engine>(std::move(plan.plan), table, count);
}

py::list Run(Engine& engine, py::handle images) {
  const FloatView view = ReadImages(engine, images, "x");
  const ImageBatch batch{ImageAt(view, 0), view.shape[0], view.strides[0]};
  const std::shared_ptr<const Program> program = engine.ProgramFor(view.shape[2], view.shape[3]);
  const Answers answers = MakeAnswers(engine, *program, batch.count);
  {
    py::gil_scoped_release unlocked;
    engine.Run(batch, *program, answers.places.data());
  }
  return answers.arrays;
}

py::list Profile(Engine& engine, py::handle images, const py::object& repeats) {
  const FloatView view = ReadImages(engine, images, "x");
  if (view.shape[0] != 1) {
    throw std::invalid_argument("profile takes one image, got " + std::to_string(view.shape[0]));
  }
  const int count = static_cast<int>(ReadInt(repeats, "repeats", 1, 100000));
  std::vector<StepProfile> profile;
  {
    py::gil_scoped_release unlocked;
    profile = engine.Profile(ImageAt(view, 0), count);
  }
  return StepsOf(engine, profile);
}

}  // namespace

void BindEngine(py::module_& module) {
  py::class_<Engine>(module, "Engine",
                     "A plan with its weights packed for one ISA, ready to run. Thread-safe.")
      .def(py::init(&MakeEngine), py::arg("plan"), py::arg("isa") = py::none(),
           py::arg("threads") = py::none(), py::arg("precision") = "fp32")
      .def("run", &Run, py::arg("x"),
           "float32 [N, C, H, W], any strides -> for each output of the plan a float32 array: [N, channels] "
           "or "
           "[N, channels, height, width].")
      .def("profile", &Profile, py::arg("x"), py::arg("repeats") = 20,
           "Median time of each step on one image [1, C, H, W]: dicts with name, kind, ms, macs and bytes.")
      .def("memory", &Memory<Engine>, py::arg("height"), py::arg("width"),
           "Bytes: weights (packed), arena (one image's activations), scratch (one thread's), unshared (the "
           "activations without the arena's sharing).")
      .def("shapes", &Shapes<Engine>, py::arg("height"), py::arg("width"),
           "For images of that size: tensors, (channels, height, width) each; outputs, each without its "
           "batch.")
      .def_property_readonly("isa", [](const Engine& engine) { return std::string(engine.table().name); })
      .def_property_readonly("threads", &Engine::threads);
}

}  // namespace mvf

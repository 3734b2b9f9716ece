// Python's CudaEngine: arrays of the host or of a device in and out.
#include <pybind11/stl.h>

#include "cuda/cuda_error.h"
#include "cuda/device.h"
#include "engine/cuda_engine.h"
#include "python/bindings.h"
#include "python/device_arrays.h"
#include "python/engine_answers.h"
#include "python/plan_dict.h"

namespace mvf {
namespace {

const CudaTable& ReadCudaTable(const py::object& precision) {
  const std::string name = ReadString(precision, "precision");
  for (const CudaTable* table :
       {&CudaTableF16(), &CudaTableBf16(), &CudaTableTf32(), &CudaTableF32(), &CudaTableInt8()}) {
    if (name == table->name) return *table;
  }
  throw std::invalid_argument(
      "precision must be 'fp16', 'bf16', 'tf32', 'fp32' or 'int8' on a CUDA device, got '" + name + "'");
}

std::unique_ptr<CudaEngine> MakeEngine(py::handle dict, const py::object& precision,
                                       const py::object& device) {
  const CudaTable& table = ReadCudaTable(precision);
  const int number = ReadCudaDevice(device);
  PlanWithArrays plan = ReadPlanDict(dict);  // its arrays live until the engine has packed them
  py::gil_scoped_release unlocked;
  return std::make_unique<CudaEngine>(std::move(plan.plan), table, number);
}

// A dense copy, or the images themselves where they are dense.
py::array_t<float> Dense(py::handle images) {
  return py::array_t<float, py::array::c_style | py::array::forcecast>::ensure(images);
}

py::list Run(CudaEngine& engine, py::handle images) {
  ReadImages(engine, images, "x");
  const py::array_t<float> dense = Dense(images);
  const FloatView view = ReadImages(engine, dense, "x");
  const ImageBatch batch{ImageAt(view, 0), view.shape[0], view.strides[0]};
  const std::shared_ptr<const Program> program = engine.ProgramFor(view.shape[2], view.shape[3]);
  const Answers answers = MakeAnswers(engine, *program, batch.count);
  {
    py::gil_scoped_release unlocked;
    engine.RunHost(batch, program, answers.places.data());
  }
  return answers.arrays;
}

void RunOnDevice(CudaEngine& engine, py::handle images, const py::list& outputs, const py::object& stream) {
  const int64_t channels = engine.plan().image_channels;
  const std::string layout = "[N, " + std::to_string(channels) + ", H, W]";
  const FloatView view =
      ReadDeviceArray(images, "x", {kAnySize, channels, kAnySize, kAnySize}, layout.c_str(), engine.device());
  if (view.shape[2] < 1 || view.shape[3] < 1) {
    throw std::invalid_argument("x must be " + layout + " with H and W of at least 1, got " +
                                ToString(view.shape));
  }
  const std::shared_ptr<const Program> program = engine.ProgramFor(view.shape[2], view.shape[3]);
  const size_t count = engine.plan().outputs.size();
  if (outputs.size() != count) {
    throw std::invalid_argument("outputs must be " + std::to_string(count) + " arrays, got " +
                                std::to_string(outputs.size()));
  }
  std::vector<float*> places;
  for (size_t i = 0; i < count; ++i) {
    places.push_back(ReadDeviceOutput(outputs[i], "outputs[" + std::to_string(i) + "]",
                                      OutputShape(engine, *program, i, view.shape[0]), engine.device()));
  }
  const auto address = static_cast<uintptr_t>(ReadInt(stream, "stream", 0, INT64_MAX));
  const ImageBatch batch{ImageAt(view, 0), view.shape[0], view.strides[0]};
  py::gil_scoped_release unlocked;
  engine.Run(batch, program, places.data(), reinterpret_cast<cuda::Stream>(address));
}

py::list Profile(CudaEngine& engine, py::handle images, const py::object& repeats) {
  ReadImages(engine, images, "x");
  const py::array_t<float> dense = Dense(images);
  const FloatView view = ReadImages(engine, dense, "x");
  if (view.shape[0] < 1) throw std::invalid_argument("profile takes at least one image");
  const int count = static_cast<int>(ReadInt(repeats, "repeats", 1, 100000));
  std::vector<StepProfile> profile;
  {
    py::gil_scoped_release unlocked;
    profile = engine.ProfileHost({ImageAt(view, 0), view.shape[0], view.strides[0]}, count);
  }
  return StepsOf(engine, profile);
}

py::list Devices() {
  py::list devices;
  if (!cuda::WhyUnavailable().empty()) return devices;
  for (int i = 0; i < cuda::DeviceCount(); ++i) {
    const cuda::DeviceProperties properties = cuda::PropertiesOf(i);
    py::dict device;
    device["name"] = properties.name;
    device["capability"] = std::to_string(properties.major) + "." + std::to_string(properties.minor);
    device["multiprocessors"] = properties.multiprocessors;
    device["memory"] = properties.memory;
    devices.append(std::move(device));
  }
  return devices;
}

}  // namespace

void BindCuda(py::module_& module) {
  py::register_exception<cuda::CudaError>(module, "CudaError", PyExc_RuntimeError);
  module.def("why_no_cuda", &cuda::WhyUnavailable);
  module.def("cuda_devices", &Devices);
  py::class_<CudaEngine>(module, "CudaEngine", "A plan on a CUDA device, ready to run. Thread-safe.")
      .def(py::init(&MakeEngine), py::arg("plan"), py::arg("precision") = "fp16", py::arg("device") = 0)
      .def("run", &Run, py::arg("x"), "As Engine.run: arrays of the host.")
      .def("run_on_device", &RunOnDevice, py::arg("x"), py::arg("outputs"), py::arg("stream"),
           "Enqueues on a stream, a cudaStream_t as an integer: x and outputs are float32 arrays of this "
           "device, outputs dense and of the shapes that `run` answers with.")
      .def("profile", &Profile, py::arg("x"), py::arg("repeats") = 20,
           "Median time of each step on the device: dicts as Engine.profile gives, for all images of x.")
      .def("memory", &Memory<CudaEngine>, py::arg("height"), py::arg("width"), "As Engine.memory.")
      .def("shapes", &Shapes<CudaEngine>, py::arg("height"), py::arg("width"), "As Engine.shapes.")
      .def_property_readonly("device", &CudaEngine::device)
      .def_property_readonly("precision", [](const CudaEngine& engine) { return engine.table().name; });
  BindCudaImages(module);
  BindCudaOps(module);
}

}  // namespace mvf

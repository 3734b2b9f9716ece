// Python's CudaPreparer: photographs of the host or of a device, as bytes, onto a device.
#include <climits>
#include <string>
#include <vector>

#include "cuda/preparer.h"
#include "engine/cuda_engine.h"
#include "python/bindings.h"
#include "python/device_arrays.h"
#include "python/engine_answers.h"
#include "python/plan_dict.h"

namespace mvf {
namespace {

std::unique_ptr<Preparer> MakePreparer(py::handle rule, const py::object& device) {
  const ImageRule read = ReadRuleDict(rule);
  return std::make_unique<Preparer>(read, ReadCudaDevice(device));
}

// Images and what keeps their memory.
struct Photographs {
  std::vector<py::object> arrays;
  std::vector<StridedImage> images;
};

Photographs ReadPhotographs(const Preparer& preparer, py::handle list) {
  if (!py::isinstance<py::list>(list) && !py::isinstance<py::tuple>(list)) {
    WrongType("images", "a list of uint8 arrays [H, W, 3]", list);
  }
  constexpr const char* kLayout = "[H, W, 3]";
  const Shape expected = {kAnySize, kAnySize, 3};
  Photographs read;
  for (py::handle array : py::list(py::reinterpret_borrow<py::object>(list))) {
    const std::string name = "images[" + std::to_string(read.images.size()) + "]";
    const bool on_device = !py::isinstance<py::array>(array);
    const ByteView view = on_device ? ReadDeviceBytes(array, name, expected, kLayout, preparer.device())
                                    : ReadArray<uint8_t>(array, name, expected, kLayout);
    if (view.empty()) {
      throw std::invalid_argument(name + " must be [H, W, 3] with H and W of at least 1, got " +
                                  ToString(view.shape));
    }
    read.arrays.push_back(py::reinterpret_borrow<py::object>(array));
    read.images.push_back({view.data,
                           {view.shape[0], view.shape[1]},
                           view.strides[0],
                           view.strides[1],
                           view.strides[2],
                           on_device});
  }
  return read;
}

py::tuple SizeAfter(const Preparer& preparer, const py::object& height, const py::object& width) {
  const ImageSize size = PreparedSize(
      preparer.rule(), {ReadInt(height, "height", 1, INT64_MAX), ReadInt(width, "width", 1, INT64_MAX)});
  return py::make_tuple(size.height, size.width);
}

void PrepareImages(Preparer& preparer, py::handle images, py::handle planes, const py::object& stream) {
  const Photographs photographs = ReadPhotographs(preparer, images);
  const ImageSize size = preparer.SizeOf(photographs.images);
  const auto count = static_cast<int64_t>(photographs.images.size());
  float* to = ReadDeviceOutput(planes, "planes", {count, 3, size.height, size.width}, preparer.device());
  const auto address = static_cast<uintptr_t>(ReadInt(stream, "stream", 0, INT64_MAX));
  py::gil_scoped_release unlocked;
  preparer.Run(photographs.images, to, reinterpret_cast<cuda::Stream>(address));
}

py::list Run(Preparer& preparer, CudaEngine& engine, py::handle images) {
  if (engine.device() != preparer.device() || engine.plan().image_channels != 3) {
    throw std::invalid_argument("the engine must be on device " + std::to_string(preparer.device()) +
                                " and take images of 3 channels");
  }
  const Photographs photographs = ReadPhotographs(preparer, images);
  for (const StridedImage& image : photographs.images) {
    if (image.on_device) throw std::invalid_argument("run takes images of the host; use prepare");
  }
  const ImageSize size = preparer.SizeOf(photographs.images);
  const int64_t pixels = size.height * size.width;
  const auto count = static_cast<int64_t>(photographs.images.size());
  const std::shared_ptr<const Program> program = engine.ProgramFor(size.height, size.width);
  py::list arrays;
  std::vector<float*> outputs;
  for (size_t i = 0; i < engine.plan().outputs.size(); ++i) {
    Output output = MakeOutput<float>(py::none(), OutputShape(engine, *program, i, count), {});
    outputs.push_back(output.view.data);
    arrays.append(std::move(output.array));
  }
  {
    const ImageBatch batch{{nullptr, 3, size.height, size.width, pixels, size.width, 1}, count, 3 * pixels};
    py::gil_scoped_release unlocked;
    engine.RunFilled(
        batch, program,
        [&](float* planes, cuda::Stream stream) { preparer.Run(photographs.images, planes, stream); },
        outputs.data());
  }
  return arrays;
}

}  // namespace

void BindCudaImages(py::module_& module) {
  py::class_<Preparer>(module, "CudaPreparer",
                       "The rule of a checkpoint's images, applied on a CUDA device. Thread-safe.")
      .def(py::init(&MakePreparer), py::arg("rule"), py::arg("device") = 0)
      .def("size", &SizeAfter, py::arg("height"), py::arg("width"),
           "(height, width) that an image of that size gets.")
      .def(
          "prepare", &PrepareImages, py::arg("images"), py::arg("planes"), py::arg("stream"),
          "Enqueues on a stream, a cudaStream_t as an integer: images are uint8 arrays [H, W, 3] of the host "
          "or this device, planes float32 [N, 3, height, width] of the device, dense.")
      .def("run", &Run, py::arg("engine"), py::arg("images"),
           "What engine.run answers to images of the host, prepared on the device.");
}

}  // namespace mvf

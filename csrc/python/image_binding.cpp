// Python's ImagePreparer: photographs as bytes in, what a model takes out.
#include <climits>
#include <cstring>

#include "image/prepare.h"
#include "python/arrays.h"
#include "python/bindings.h"
#include "python/dense_arrays.h"
#include "python/plan_dict.h"
#include "python/scalars.h"

namespace mvf {
namespace {

// What the capsule "arrow_array" of Arrow's PyCapsule interface points to, as its C data interface lays it
// out: https://arrow.apache.org/docs/format/CDataInterface.html
struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void** buffers;
  ArrowArray** children;
  ArrowArray* dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};

constexpr int64_t kArrowPixelBytes = 4;

// Pillow's pixels where they lie: a list of pixels, each of four bytes of the only child.
RgbImage ReadArrow(const py::capsule& capsule, ImageSize size) {
  if (std::strcmp(capsule.name() == nullptr ? "" : capsule.name(), "arrow_array") != 0) {
    throw py::type_error("image must be an array or a capsule 'arrow_array'");
  }
  const auto* const array = capsule.get_pointer<ArrowArray>();
  const int64_t pixels = size.height * size.width;
  const bool is_rgb = array->release != nullptr && array->length == pixels && array->offset == 0 &&
                      array->n_children == 1 && array->children[0]->offset == 0 &&
                      array->children[0]->length == kArrowPixelBytes * pixels &&
                      array->children[0]->n_buffers == 2 && array->children[0]->buffers[1] != nullptr;
  if (!is_rgb) {
    throw std::invalid_argument("image must hold " + std::to_string(size.height) + " x " +
                                std::to_string(size.width) +
                                " pixels of four bytes, as mode RGB of Pillow does");
  }
  return {static_cast<const uint8_t*>(array->children[0]->buffers[1]), size, kArrowPixelBytes * size.width,
          kArrowPixelBytes};
}

RgbImage ReadRgb(py::handle image, ImageSize size) {
  if (py::isinstance<py::capsule>(image)) return ReadArrow(py::reinterpret_borrow<py::capsule>(image), size);
  const ByteView view = ReadArray<uint8_t>(image, "image", {size.height, size.width, 3}, "[H, W, 3]");
  // An axis of one element has no stride.
  const int64_t row = size.height > 1 ? view.strides[0] : 3 * size.width;
  if ((size.width > 1 && view.strides[1] != 3) || view.strides[2] != 1 || row < 3 * size.width) {
    throw std::invalid_argument(
        "image must have the channels of a pixel and the pixels of a row side by side");
  }
  return {view.data, size, row};
}

ImageSize ReadSize(py::handle height, py::handle width) {
  return {ReadInt(height, "height", 1, kMaxEdge), ReadInt(width, "width", 1, kMaxEdge)};
}

py::array RunPreparer(const ImageRule& rule, py::handle image, py::handle height, py::handle width,
                      const py::object& out) {
  const ImageSize size = ReadSize(height, width);
  const RgbImage rgb = ReadRgb(image, size);
  // How large an image may become has been asked where it was decoded.
  const ImageSize prepared = PreparationOf(rule, size, INT64_MAX).size;
  ByteView read;
  read.shape = {size.height, size.width, rgb.pixel_bytes};
  read.strides = {rgb.row_bytes, rgb.pixel_bytes, 1};
  read.data = const_cast<uint8_t*>(rgb.data);
  const Output<float> output = MakeDenseOutput(out, {3, prepared.height, prepared.width}, {{"image", &read}});
  {
    py::gil_scoped_release unlocked;
    Prepare(rule, rgb, output.view.data, INT64_MAX);
  }
  return output.array;
}

}  // namespace

void BindImages(py::module_& module) {
  py::class_<ImageRule>(module, "ImagePreparer", "The rule of a checkpoint's images. Thread-safe.")
      .def(py::init(&ReadRuleDict), py::arg("rule"))
      .def("run", &RunPreparer, py::arg("image"), py::arg("height"), py::arg("width"),
           py::arg("out") = py::none(),
           "float32 [3, h, w] of an image: uint8 [H, W, 3], or the array's capsule of an RGB image of "
           "Pillow.");
}

}  // namespace mvf

// mobilevit_fast.h on top of the engine: arguments checked, exceptions turned into status and message.
#include <cstdio>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/cpu_count.h"
#include "base/memory.h"
#include "c_api/mobilevit_fast.h"
#include "c_api/read_file.h"
#include "engine/engine.h"
#include "image/prepare.h"
#include "model_file/model_file.h"

// What the header calls mvf_model.
struct mvf_model {
  std::string precision;
  mvf::ImageSize input_size;
  mvf::ImageRule rule;
  std::vector<std::string> labels;
  std::unique_ptr<mvf::Engine> engine;
};

namespace mvf {
namespace {

// Of fixed size: there may be no memory to tell that there is no memory.
thread_local char last_error[512] = "";

mvf_status Fail(mvf_status status, const char* message) noexcept {
  std::snprintf(last_error, sizeof(last_error), "%s", message);
  return status;
}

class InvalidFile : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Runs a call's body; nothing that it throws goes any further.
template <class Body>
mvf_status Guarded(Body&& body) noexcept {
  try {
    body();
    return MVF_OK;
  } catch (const InvalidFile& error) {
    return Fail(MVF_INVALID_FILE, error.what());
  } catch (const std::invalid_argument& error) {
    return Fail(MVF_INVALID_ARGUMENT, error.what());
  } catch (const OutOfMemory& error) {
    return Fail(MVF_OUT_OF_MEMORY, error.what());
  } catch (const std::bad_alloc&) {
    return Fail(MVF_OUT_OF_MEMORY, "not enough memory");
  } catch (const std::exception& error) {
    return Fail(MVF_INTERNAL_ERROR, error.what());
  } catch (...) {
    return Fail(MVF_INTERNAL_ERROR, "unknown exception");
  }
}

void Require(bool condition, const char* problem) {
  if (!condition) throw std::invalid_argument(problem);
}

template <class T>
const T* RequirePointer(const T* pointer, const char* name) {
  if (pointer == nullptr) throw std::invalid_argument(std::string(name) + " is NULL");
  return pointer;
}

// Floats of that many rows and columns; `capacity` must have room for them.
void RequireRoom(const float* out, size_t capacity, size_t floats, const char* name) {
  RequirePointer(out, name);
  if (capacity < floats) {
    throw std::invalid_argument(std::string(name) + " has room for " + std::to_string(capacity) +
                                " floats; it needs " + std::to_string(floats));
  }
}

struct Settings {
  int threads = 0;
  const char* isa = nullptr;
};

Settings ReadOptions(const mvf_options* options) {
  Settings settings{DefaultThreads(), nullptr};
  if (options == nullptr) return settings;
  Require(options->size >= sizeof(mvf_options),
          "options: start from MVF_OPTIONS_INIT, which sets their size");
  if (options->threads < 0 || options->threads > kMaxThreads) {
    throw std::invalid_argument("options: threads must be from 0 to " + std::to_string(kMaxThreads) +
                                ", got " + std::to_string(options->threads));
  }
  if (options->threads > 0) settings.threads = options->threads;
  settings.isa = options->isa;
  return settings;
}

std::unique_ptr<mvf_model> MakeModel(const std::byte* data, size_t size, const Settings& settings) {
  ModelFile file;
  try {
    file = ReadModelFile(data, size);
    CheckPlan(file.plan);
  } catch (const std::invalid_argument& error) {
    throw InvalidFile(error.what());
  }
  const KernelTable& table =
      settings.isa == nullptr ? BestTable(file.kernels) : TableByName(settings.isa, file.kernels);
  auto model = std::make_unique<mvf_model>();
  model->engine = std::make_unique<Engine>(std::move(file.plan), table, settings.threads);
  if (!model->engine->IsVector(0)) throw InvalidFile("the plan's output is a map, not an image's logits");
  model->precision = std::move(file.precision);
  model->input_size = file.input_size;
  model->rule = file.rule;
  model->labels = std::move(file.labels);
  return model;
}

RgbImage CheckedImage(const uint8_t* rgb, int64_t width, int64_t height, int64_t row_bytes) {
  RequirePointer(rgb, "rgb");
  Require(width >= 1 && height >= 1, "width and height must be at least 1");
  Require(width <= INT64_MAX / 3, "width is too large");
  Require(row_bytes == 0 || row_bytes >= 3 * width, "row_bytes must be 0, or at least 3 * width");
  return {rgb, {height, width}, row_bytes == 0 ? 3 * width : row_bytes};
}

void RunImages(mvf_model& model, const float* pixels, int64_t count, ImageSize size, float* logits) {
  const int64_t plane = size.height * size.width;
  const Image first{pixels, 3, size.height, size.width, plane, size.width, 1};
  const std::shared_ptr<const Program> program = model.engine->ProgramFor(size.height, size.width);
  model.engine->Run({first, count, 3 * plane}, *program, &logits);
}

size_t FloatsOf(ImageSize size) {
  return CheckedProduct(3, CheckedProduct(static_cast<size_t>(size.height), static_cast<size_t>(size.width)));
}

}  // namespace
}  // namespace mvf

extern "C" {

const char* mvf_version(void) { return MVF_VERSION; }

const char* mvf_error(void) { return mvf::last_error; }

mvf_status mvf_load(const char* path, const mvf_options* options, mvf_model** model) {
  return mvf::Guarded([&] {
    mvf::RequirePointer(path, "path");
    mvf::RequirePointer(model, "model");
    const mvf::Settings settings = mvf::ReadOptions(options);
    std::vector<std::byte> content;
    try {
      content = mvf::ReadFile(path);
    } catch (const std::invalid_argument& error) {
      throw mvf::InvalidFile(error.what());
    }
    *model = mvf::MakeModel(content.data(), content.size(), settings).release();
  });
}

mvf_status mvf_load_memory(const void* data, size_t size, const mvf_options* options, mvf_model** model) {
  return mvf::Guarded([&] {
    mvf::RequirePointer(data, "data");
    mvf::RequirePointer(model, "model");
    const mvf::Settings settings = mvf::ReadOptions(options);
    *model = mvf::MakeModel(static_cast<const std::byte*>(data), size, settings).release();
  });
}

void mvf_free(mvf_model* model) { delete model; }

int32_t mvf_class_count(const mvf_model* model) { return static_cast<int32_t>(model->labels.size()); }

const char* mvf_label(const mvf_model* model, int32_t index) {
  if (index < 0 || index >= mvf_class_count(model)) return nullptr;
  return model->labels[static_cast<size_t>(index)].c_str();
}

int32_t mvf_input_height(const mvf_model* model) { return static_cast<int32_t>(model->input_size.height); }

int32_t mvf_input_width(const mvf_model* model) { return static_cast<int32_t>(model->input_size.width); }

const char* mvf_channel_order(const mvf_model* model) { return model->rule.bgr ? "BGR" : "RGB"; }

const char* mvf_precision(const mvf_model* model) { return model->precision.c_str(); }

const char* mvf_isa(const mvf_model* model) { return model->engine->table().name; }

int32_t mvf_threads(const mvf_model* model) { return model->engine->threads(); }

mvf_status mvf_run(mvf_model* model, const float* pixels, int64_t count, int64_t height, int64_t width,
                   float* logits, size_t capacity) {
  return mvf::Guarded([&] {
    mvf::RequirePointer(model, "model");
    mvf::RequirePointer(pixels, "pixels");
    mvf::Require(count >= 0 && height >= 1 && width >= 1,
                 "height and width must be at least 1, and count not negative");
    const auto images = static_cast<size_t>(count);
    mvf::RequireRoom(logits, capacity, mvf::CheckedProduct(images, model->labels.size()), "logits");
    mvf::CheckedProduct(images, mvf::FloatsOf({height, width}));
    mvf::RunImages(*model, pixels, count, {height, width}, logits);
  });
}

mvf_status mvf_run_rgb(mvf_model* model, const uint8_t* rgb, int64_t width, int64_t height, int64_t row_bytes,
                       float* logits, size_t capacity) {
  return mvf::Guarded([&] {
    mvf::RequirePointer(model, "model");
    const mvf::RgbImage image = mvf::CheckedImage(rgb, width, height, row_bytes);
    mvf::RequireRoom(logits, capacity, model->labels.size(), "logits");
    const mvf::ImageSize size = mvf::PreparedSize(model->rule, image.size);
    std::vector<float> pixels(mvf::FloatsOf(size));
    mvf::Prepare(model->rule, image, pixels.data());
    mvf::RunImages(*model, pixels.data(), 1, size, logits);
  });
}

mvf_status mvf_prepared_size(const mvf_model* model, int64_t width, int64_t height, int64_t* prepared_width,
                             int64_t* prepared_height) {
  return mvf::Guarded([&] {
    mvf::RequirePointer(model, "model");
    mvf::RequirePointer(prepared_width, "prepared_width");
    mvf::RequirePointer(prepared_height, "prepared_height");
    const mvf::ImageSize size = mvf::PreparedSize(model->rule, {height, width});
    *prepared_width = size.width;
    *prepared_height = size.height;
  });
}

mvf_status mvf_prepare_rgb(const mvf_model* model, const uint8_t* rgb, int64_t width, int64_t height,
                           int64_t row_bytes, float* pixels, size_t capacity) {
  return mvf::Guarded([&] {
    mvf::RequirePointer(model, "model");
    const mvf::RgbImage image = mvf::CheckedImage(rgb, width, height, row_bytes);
    const mvf::ImageSize size = mvf::PreparedSize(model->rule, image.size);
    mvf::RequireRoom(pixels, capacity, mvf::FloatsOf(size), "pixels");
    mvf::Prepare(model->rule, image, pixels);
  });
}

}  // extern "C"

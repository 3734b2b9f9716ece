// What the engines of the host and of a device are asked in the same words.
#pragma once

#include <climits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/plan_check.h"
#include "python/arrays.h"
#include "python/scalars.h"

namespace mvf {

// float32 [N, C, H, W] with the plan's C and at least one pixel.
template <class AnyEngine>
FloatView ReadImages(const AnyEngine& engine, py::handle images, const char* name) {
  const int64_t channels = engine.plan().image_channels;
  const std::string layout = "[N, " + std::to_string(channels) + ", H, W]";
  FloatView view = ReadArray<float>(images, name, {kAnySize, channels, kAnySize, kAnySize}, layout.c_str());
  if (view.shape[2] < 1 || view.shape[3] < 1) {
    throw std::invalid_argument(std::string(name) + " must be " + layout +
                                " with H and W of at least 1, got " + ToString(view.shape));
  }
  return view;
}

template <class AnyEngine>
Shape OutputShape(const AnyEngine& engine, const Program& program, size_t output, int64_t images) {
  const int tensor = engine.plan().outputs[output];
  const int64_t channels = engine.plan().tensors[tensor].channels;
  if (engine.IsVector(output)) return {images, channels};
  return {images, channels, program.tensors[tensor].height, program.tensors[tensor].width};
}

// New arrays for the outputs of so many images, and where they begin.
struct Answers {
  py::list arrays;
  std::vector<float*> places;
};

template <class AnyEngine>
Answers MakeAnswers(const AnyEngine& engine, const Program& program, int64_t images) {
  Answers answers;
  for (size_t i = 0; i < engine.plan().outputs.size(); ++i) {
    Output output = MakeOutput<float>(py::none(), OutputShape(engine, program, i, images), {});
    answers.places.push_back(output.view.data);
    answers.arrays.append(std::move(output.array));
  }
  return answers;
}

template <class AnyEngine>
std::shared_ptr<const Program> ProgramOf(AnyEngine& engine, const py::object& height,
                                         const py::object& width) {
  return engine.ProgramFor(ReadInt(height, "height", 1, INT64_MAX), ReadInt(width, "width", 1, INT64_MAX));
}

template <class AnyEngine>
py::dict Memory(AnyEngine& engine, const py::object& height, const py::object& width) {
  const EngineMemory memory = engine.MemoryFor(*ProgramOf(engine, height, width));
  py::dict bytes;
  bytes["weights"] = memory.weights;
  bytes["arena"] = memory.arena;
  bytes["scratch"] = memory.scratch;
  bytes["unshared"] = memory.unshared;
  return bytes;
}

template <class AnyEngine>
py::dict Shapes(AnyEngine& engine, const py::object& height, const py::object& width) {
  const std::shared_ptr<const Program> program = ProgramOf(engine, height, width);
  py::list tensors, outputs;
  for (size_t i = 0; i < program->tensors.size(); ++i) {
    const TensorPlace& place = program->tensors[i];
    tensors.append(py::make_tuple(engine.plan().tensors[i].channels, place.height, place.width));
  }
  for (size_t i = 0; i < engine.plan().outputs.size(); ++i) {
    const Shape shape = OutputShape(engine, *program, i, 1);
    py::tuple sizes(shape.size() - 1);
    for (size_t j = 1; j < shape.size(); ++j) sizes[j - 1] = shape[j];
    outputs.append(sizes);
  }
  py::dict shapes;
  shapes["tensors"] = tensors;
  shapes["outputs"] = outputs;
  return shapes;
}

template <class AnyEngine>
py::list StepsOf(const AnyEngine& engine, const std::vector<StepProfile>& profile) {
  py::list steps;
  for (size_t i = 0; i < profile.size(); ++i) {
    const Step& step = engine.plan().steps[i];
    py::dict entry;
    entry["name"] = step.name;
    entry["kind"] = NameOf(step.kind);
    entry["ms"] = profile[i].milliseconds;
    entry["macs"] = profile[i].cost.macs;
    entry["bytes"] = profile[i].cost.bytes;
    steps.append(std::move(entry));
  }
  return steps;
}

}  // namespace mvf

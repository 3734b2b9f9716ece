#include "engine/cuda_engine.h"

#include <algorithm>
#include <stdexcept>

#include "base/median.h"
#include "cuda/cuda_error.h"

namespace mvf {
namespace {

using cuda::DeviceBuffer;
using cuda::DeviceScope;
using cuda::Stream;

constexpr const char* kArenaPurpose = "activations";

// What a step asks for and the table's kernels lack, or null.
const char* Lacking(const Plan& plan, const Step& step, const CudaTable& table) {
  if (!IsInt8(step.kind) && plan.tensors[step.output].type != TensorType::kBytes) return nullptr;
  if (!table.int8) return "steps on bytes; use precision='int8'";
  if (step.kind != StepKind::kInt8Linear) return nullptr;
  if (step.int8_linear.input == Int8Input::kDynamic) return "dynamic quantisation; use device='cpu'";
  const bool activates = step.int8_linear_weights.activation != Activation::kNone;
  return activates ? "activation of sums that stay floats; use device='cpu'" : nullptr;
}

PlanFacts CheckDevicePlan(const Plan& plan, const CudaTable& table) {
  const PlanFacts facts = CheckPlan(plan);
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const char* lacking = Lacking(plan, plan.steps[i], table);
    if (!lacking) continue;
    throw std::invalid_argument(Describe(plan, i) + ": CUDA's " + table.name + " kernels know no " + lacking);
  }
  return facts;
}

// Every tensor as long as all images, at places that keep their order and distance.
Program ForImages(const Program& single, int64_t images) {
  Program program = single;
  const auto count = static_cast<size_t>(images);
  for (TensorPlace& place : program.tensors) {
    place.bytes = CheckedProduct(place.bytes, count);
    place.offset = CheckedProduct(place.offset, count);
  }
  program.arena_bytes = CheckedProduct(program.arena_bytes, count);
  return program;
}

int64_t ImageElements(const Image& image) { return image.channels * image.height * image.width; }

size_t FloatBytes(int64_t images, int64_t elements) {
  return CheckedProduct(CheckedProduct(static_cast<size_t>(images), static_cast<size_t>(elements)),
                        sizeof(float));
}

// A batch of the same sizes whose images lie one behind the other, dense.
ImageBatch DenseBatch(const ImageBatch& batch, const float* data) {
  const Image& image = batch.first;
  const Image dense = {
      data, image.channels, image.height, image.width, image.height * image.width, image.width, 1};
  return {dense, batch.count, ImageElements(image)};
}

cuda::DeviceProperties SupportedProperties(int device) {
  constexpr int kLeastMajor = 8;
  const cuda::DeviceProperties found = cuda::PropertiesOf(device);
  if (found.major < kLeastMajor) {
    throw std::invalid_argument("CUDA device " + std::to_string(device) + " (" + found.name +
                                ") has compute capability " + std::to_string(found.major) + "." +
                                std::to_string(found.minor) + "; the kernels need 8.0 or later");
  }
  return found;
}

}  // namespace

CudaEngine::CudaEngine(Plan plan, const CudaTable& table, int device)
    : plan_(std::move(plan)),
      table_(table),
      device_(device),
      facts_(CheckDevicePlan(plan_, table)),
      properties_(SupportedProperties(device)),
      weights_(plan_, table) {
  ForgetWeights(plan_);
  const DeviceScope scope(device_);
  stream_ = std::make_unique<cuda::OwnedStream>();
  done_ = std::make_unique<cuda::Event>();
  packed_ = DeviceBuffer(weights_.bytes(), "packed weights");
  cuda::CopyToDevice(packed_.data(), weights_.data(), weights_.bytes(), stream_->get());
  weights_.MoveTo(packed_.data());
}

// What runs still uses the memory that goes.
CudaEngine::~CudaEngine() {
  try {
    done_->Synchronize();
  } catch (const cuda::CudaError&) {
    // The device has failed, or is being shut down with the process: nothing runs there any more.
  }
}

std::shared_ptr<const Program> CudaEngine::ProgramFor(int64_t height, int64_t width) {
  if (std::shared_ptr<const Program> found = programs_.Find(height, width)) return found;
  auto program = std::make_shared<Program>(BuildProgram(plan_, table_.element, height, width));
  programs_.Insert(program);
  return program;
}

int64_t CudaEngine::OutputElements(const Program& program, size_t output) const {
  return ElementsOf(plan_, program, plan_.outputs[output]);
}

EngineMemory CudaEngine::MemoryFor(const Program& program) const {
  return {weights_.bytes(), program.arena_bytes, 0, program.naive_bytes};
}

Frame CudaEngine::FrameOf(const Program& program, const Image& image) const {
  return {&plan_, &program, &weights_, table_.element, arena_.data(), image};
}

void CudaEngine::Enqueue(const Frame& frame, size_t begin, size_t end, const CudaRun& run) const {
  for (size_t step = begin; step < end; ++step) {
    if (frame.program->skipped[step]) continue;
    VisitStep(table_, frame, step, [&](const auto& kernel, const auto& args) { kernel.run(args, run); });
  }
}

void CudaEngine::EnqueueOutputs(const Frame& frame, float* const* outputs, const CudaRun& run) const {
  for (size_t i = 0; i < plan_.outputs.size(); ++i) {
    const int tensor = plan_.outputs[i];
    const bool is_float = plan_.tensors[tensor].type == TensorType::kFloat;
    table_.planar.run({TensorMap(frame, tensor), is_float ? DType::kF32 : table_.element, outputs[i]}, run);
  }
}

CudaRun CudaEngine::RunOf(const ImageBatch& batch, Stream stream) const {
  CudaRun run;
  run.stream = stream;
  run.images = batch.count;
  run.image_stride = batch.image_stride;
  run.multiprocessors = properties_.multiprocessors;
  run.shared_bytes = properties_.shared_bytes;
  return run;
}

// Graphs point into the arena, so they go with it.
void CudaEngine::ReserveArena(size_t bytes, bool capturing) {
  if (bytes <= arena_.size()) return;
  if (capturing) {
    throw std::invalid_argument(
        "the first run of so many images cannot be recorded, for it needs more memory; run once before");
  }
  done_->Synchronize();
  batches_.clear();
  if (arena_is_recorded_) outgrown_.push_back(std::move(arena_));
  arena_is_recorded_ = false;
  arena_ = DeviceBuffer();
  arena_ = DeviceBuffer(bytes, kArenaPurpose);
}

CudaEngine::Batch& CudaEngine::BatchFor(const std::shared_ptr<const Program>& program, int64_t images) {
  for (auto place = batches_.begin(); place != batches_.end(); ++place) {
    if (place->single != program || place->images != images) continue;
    batches_.splice(batches_.begin(), batches_, place);
    return batches_.front();
  }
  batches_.push_front({program, images, ForImages(*program, images), nullptr});
  if (batches_.size() > kMaxBatches) {
    done_->Synchronize();  // the graph that goes may still run
    batches_.pop_back();
  }
  return batches_.front();
}

void CudaEngine::Run(const ImageBatch& batch, const std::shared_ptr<const Program>& program,
                     float* const* outputs, Stream stream) {
  if (batch.count == 0) return;
  const DeviceScope scope(device_);
  const std::lock_guard<std::mutex> lock(mutex_);
  const bool capturing = cuda::IsCapturing(stream);
  ReserveArena(CheckedProduct(program->arena_bytes, static_cast<size_t>(batch.count)), capturing);
  const CudaRun run = RunOf(batch, stream);
  const size_t steps = plan_.steps.size();
  if (capturing) {
    arena_is_recorded_ = true;
    const Program whole = ForImages(*program, batch.count);
    const Frame frame = FrameOf(whole, batch.first);
    Enqueue(frame, 0, steps, run);
    EnqueueOutputs(frame, outputs, run);
    return;
  }
  Batch& of_size = BatchFor(program, batch.count);
  const Frame frame = FrameOf(of_size.program, batch.first);
  // The caller's images and outputs are elsewhere each time: their kernels stay out of the graph.
  done_->MakeWait(stream);
  try {
    Enqueue(frame, 0, 1, run);
    if (of_size.graph) {
      of_size.graph->Launch(stream);
    } else {
      Enqueue(frame, 1, steps, run);
    }
    EnqueueOutputs(frame, outputs, run);
  } catch (...) {
    // The next run has to wait for what was enqueued.
    cuda::Synchronize(stream);
    throw;
  }
  done_->Record(stream);
  // Only now: a launch that is recorded must not be its kernel's first, which loads it.
  if (!of_size.graph) {
    of_size.graph = std::make_unique<cuda::Graph>([&](Stream recorded) {
      CudaRun within = run;
      within.stream = recorded;
      Enqueue(frame, 1, steps, within);
    });
  }
}

float* CudaEngine::Stage(size_t bytes) {
  if (bytes > staging_.size()) {
    staging_ = DeviceBuffer();
    staging_ = DeviceBuffer(bytes, "images and outputs");
  }
  return reinterpret_cast<float*>(staging_.data());
}

void CudaEngine::RunHost(const ImageBatch& batch, const std::shared_ptr<const Program>& program,
                         float* const* outputs) {
  const size_t bytes = FloatBytes(batch.count, ImageElements(batch.first));
  const auto copy = [&](float* images, Stream stream) {
    cuda::CopyToDevice(images, batch.first.data, bytes, stream);
  };
  RunFilled(batch, program, copy, outputs);
}

void CudaEngine::RunFilled(const ImageBatch& batch, const std::shared_ptr<const Program>& program,
                           const Fill& fill, float* const* outputs) {
  if (batch.count == 0) return;
  const DeviceScope scope(device_);
  const std::lock_guard<std::mutex> lock(host_mutex_);
  std::vector<size_t> begins, sizes;  // in bytes, of the images, then of each output
  size_t end = 0;
  const auto place = [&](int64_t elements) {
    begins.push_back(end);
    sizes.push_back(FloatBytes(batch.count, elements));
    end = RoundUp(CheckedSum(end, sizes.back()), kCacheLine);
  };
  place(ImageElements(batch.first));
  for (size_t i = 0; i < plan_.outputs.size(); ++i) place(OutputElements(*program, i));

  const Stream stream = stream_->get();
  float* staging = Stage(end);
  std::vector<float*> places;
  for (size_t i = 0; i < plan_.outputs.size(); ++i) places.push_back(staging + begins[i + 1] / sizeof(float));
  fill(staging, stream);
  Run(DenseBatch(batch, staging), program, places.data(), stream);
  for (size_t i = 0; i < places.size(); ++i) cuda::CopyToHost(outputs[i], places[i], sizes[i + 1], stream);
  cuda::Synchronize(stream);
}

std::vector<StepProfile> CudaEngine::ProfileHost(const ImageBatch& batch, int repeats) {
  const DeviceScope scope(device_);
  const std::lock_guard<std::mutex> lock(host_mutex_);
  const size_t bytes = FloatBytes(batch.count, ImageElements(batch.first));
  float* staging = Stage(bytes);
  cuda::CopyToDevice(staging, batch.first.data, bytes, stream_->get());
  return Profile(DenseBatch(batch, staging), repeats);
}

std::vector<StepProfile> CudaEngine::Profile(const ImageBatch& batch, int repeats) {
  const std::shared_ptr<const Program> single = ProgramFor(batch.first.height, batch.first.width);
  const DeviceScope scope(device_);
  const std::lock_guard<std::mutex> lock(mutex_);
  ReserveArena(CheckedProduct(single->arena_bytes, static_cast<size_t>(batch.count)), false);
  const cuda::OwnedStream stream;
  const CudaRun run = RunOf(batch, stream.get());
  const Program whole = ForImages(*single, batch.count);
  const Frame frame = FrameOf(whole, batch.first);
  const size_t steps = plan_.steps.size();
  std::vector<cuda::Event> ends;
  for (size_t i = 0; i <= steps; ++i) ends.emplace_back(true);
  std::vector<std::vector<double>> times(steps);
  done_->MakeWait(stream.get());
  for (int repeat = 0; repeat <= repeats; ++repeat) {
    ends[0].Record(stream.get());
    for (size_t step = 0; step < steps; ++step) {
      Enqueue(frame, step, step + 1, run);
      ends[step + 1].Record(stream.get());
    }
    cuda::Synchronize(stream.get());
    for (size_t step = 0; step < steps && repeat > 0; ++step) {
      times[step].push_back(ends[step + 1].MillisecondsSince(ends[step]));
    }
  }
  std::vector<StepProfile> profile;
  const Frame one = FrameOf(*single, batch.first);
  for (size_t step = 0; step < steps; ++step) {
    Cost cost = CostOf(one, step);
    const size_t weights = weights_.of(step).bytes;
    cost.macs *= batch.count;
    cost.bytes = weights + (cost.bytes - std::min(cost.bytes, weights)) * static_cast<size_t>(batch.count);
    profile.push_back({Median(std::move(times[step])), cost});
  }
  return profile;
}

}  // namespace mvf

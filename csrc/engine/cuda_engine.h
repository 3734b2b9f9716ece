// The engine on a device: the same plan and the same arena, all images of a batch side by side.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>

#include "cuda/cuda_table.h"
#include "cuda/device.h"
#include "engine/engine.h"

namespace mvf {

// Safe to use from several threads and on several streams at once: runs share one arena, and a run waits on
// the device for the one before it.
class CudaEngine {
 public:
  // The weights that `plan` points to are not needed afterwards. Throws std::invalid_argument for a plan that
  // the table has no kernels for, OutOfMemory, cuda::CudaError.
  CudaEngine(Plan plan, const CudaTable& table, int device);
  ~CudaEngine();

  const Plan& plan() const { return plan_; }
  const CudaTable& table() const { return table_; }
  int device() const { return device_; }

  // Throws as BuildProgram does.
  std::shared_ptr<const Program> ProgramFor(int64_t height, int64_t width);

  // Enqueues on `stream`: images and outputs are the device's memory, outputs as Engine::Run writes them.
  // After the first run of a batch size its launches are recorded in a graph, which later runs repeat. While
  // `stream` is itself being recorded the launches go into that recording: the arena must not have to grow
  // for it (std::invalid_argument), and nobody may run the engine while the recording is replayed.
  void Run(const ImageBatch& batch, const std::shared_ptr<const Program>& program, float* const* outputs,
           cuda::Stream stream);

  // The same on host memory, one call at a time, finished on return. The images must be dense, [N, C, H, W].
  void RunHost(const ImageBatch& batch, const std::shared_ptr<const Program>& program, float* const* outputs);

  // The same on images that `fill` enqueues: it is given memory of the device for all of them, dense. Of
  // `batch` only count and size are read.
  using Fill = std::function<void(float* images, cuda::Stream stream)>;
  void RunFilled(const ImageBatch& batch, const std::shared_ptr<const Program>& program, const Fill& fill,
                 float* const* outputs);

  // Runs so many images `repeats` times on what the arena holds, and once before to warm up; an entry for
  // each step of the plan, its cost that of all images. The first step, which reads the images, takes
  // `batch`, device memory.
  std::vector<StepProfile> Profile(const ImageBatch& batch, int repeats);
  // The same on dense images of the host.
  std::vector<StepProfile> ProfileHost(const ImageBatch& batch, int repeats);

  bool IsVector(size_t output) const { return facts_.is_vector[plan_.outputs[output]]; }
  int64_t OutputElements(const Program& program, size_t output) const;

  // Of the device, for one image at a time; scratch is 0.
  EngineMemory MemoryFor(const Program& program) const;

  size_t graph_count() const { return batches_.size(); }

 private:
  // A program for so many images, and its launches behind the stem's.
  struct Batch {
    std::shared_ptr<const Program> single;
    int64_t images = 0;
    Program program;
    std::unique_ptr<cuda::Graph> graph;
  };
  static constexpr size_t kMaxBatches = 64;  // more than the sizes that a server batches

  Batch& BatchFor(const std::shared_ptr<const Program>& program, int64_t images);
  void ReserveArena(size_t bytes, bool capturing);
  CudaRun RunOf(const ImageBatch& batch, cuda::Stream stream) const;
  float* Stage(size_t bytes);
  Frame FrameOf(const Program& program, const Image& image) const;
  void Enqueue(const Frame& frame, size_t begin, size_t end, const CudaRun& run) const;
  void EnqueueOutputs(const Frame& frame, float* const* outputs, const CudaRun& run) const;

  Plan plan_;
  const CudaTable& table_;
  const int device_;
  PlanFacts facts_;
  cuda::DeviceProperties properties_;
  PackedWeights weights_;
  cuda::DeviceBuffer packed_;
  ProgramCache programs_;

  std::mutex mutex_;  // guards what follows
  cuda::DeviceBuffer arena_;
  bool arena_is_recorded_ = false;            // somebody's recording points into it
  std::vector<cuda::DeviceBuffer> outgrown_;  // arenas of recordings
  std::list<Batch> batches_;                  // latest first
  std::unique_ptr<cuda::Event> done_;         // behind the latest run

  std::mutex host_mutex_;  // guards what follows
  cuda::DeviceBuffer staging_;
  std::unique_ptr<cuda::OwnedStream> stream_;
};

}  // namespace mvf

// The engine: packs a plan's weights once, then runs images through its steps.
#pragma once

#include <memory>
#include <vector>

#include "base/memory.h"
#include "base/thread_pool.h"
#include "engine/bind.h"
#include "engine/cost.h"
#include "engine/program.h"
#include "engine/program_cache.h"
#include "engine/weights.h"

namespace mvf {

// Images of one size, `image_stride` elements apart.
struct ImageBatch {
  Image first;
  int64_t count = 0;
  int64_t image_stride = 0;
};

// How the images of a batch are shared among threads.
struct BatchShare {
  int64_t whole = 0;  // go to one thread each, to whichever is free next
  int64_t split = 0;  // then go one after another to all threads together, which divide each step
};

// A thread with an image of its own never waits and keeps its arena in its own cache, so every full round of
// images goes that way. What is left over, fewer images than threads, would leave threads idle: they divide
// each step's rows, tokens or channels instead, and meet at its end.
constexpr BatchShare ShareBatch(int64_t images, int threads) {
  return {images / threads * threads, images % threads};
}

struct StepProfile {
  double milliseconds = 0;  // median
  Cost cost;
};

struct EngineMemory {
  size_t weights = 0;   // packed
  size_t arena = 0;     // all activations of one image
  size_t scratch = 0;   // of one thread
  size_t unshared = 0;  // what the activations would take, each in memory of its own
};

// Safe to use from several threads at once. A call that finds the pool in use runs on its caller's thread
// alone.
class Engine {
 public:
  // The weights that `plan` points to are not needed afterwards. Throws std::invalid_argument for a plan that
  // cannot run, OutOfMemory.
  Engine(Plan plan, const KernelTable& table, int threads);
  ~Engine();

  const Plan& plan() const { return plan_; }
  const KernelTable& table() const { return table_; }
  int threads() const { return pool_.size(); }

  // Throws as BuildProgram does.
  std::shared_ptr<const Program> ProgramFor(int64_t height, int64_t width);

  // Writes plan output i of image n to outputs[i] + n * OutputElements(program, i), dense: channels of a
  // vector, or channels x height x width of a map. A size that was run before costs no allocation.
  void Run(const ImageBatch& batch, const Program& program, float* const* outputs);

  bool IsVector(size_t output) const { return facts_.is_vector[plan_.outputs[output]]; }
  int64_t OutputElements(const Program& program, size_t output) const;

  // Runs one image `repeats` times, and once before to warm up; an entry for each step of the plan.
  std::vector<StepProfile> Profile(const Image& image, int repeats);

  EngineMemory MemoryFor(const Program& program) const;

 private:
  // What one thread needs to run: an arena for an image of its own, and scratch.
  struct Workspace {
    AlignedBuffer arena;
    AlignedBuffer scratch;
  };
  class SerialLease;

  Frame FrameOf(const Program& program, const Image& image, std::byte* arena) const;
  void ReserveTeam(const Program& program, size_t arenas);
  template <class AfterStep>
  void RunSteps(const Frame& frame, const Team& team, std::byte* scratch, AfterStep&& after_step) const;
  void RunImage(const ImageBatch& batch, int64_t index, const Program& program, const Team& team,
                std::byte* arena, std::byte* scratch, float* const* outputs) const;
  void WriteOutputs(const Frame& frame, int64_t index, float* const* outputs) const;

  Plan plan_;
  const KernelTable& table_;
  PlanFacts facts_;
  PackedWeights weights_;
  ProgramCache programs_;
  ThreadPool pool_;
  std::vector<Workspace> team_workspaces_;  // one for each thread; whoever leases the pool uses them
  std::vector<std::unique_ptr<Workspace>> idle_workspaces_;  // of calls that ran alone, under ForkSafeMutex
};

}  // namespace mvf

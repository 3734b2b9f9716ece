#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "base/median.h"
#include "engine/planar.h"

namespace mvf {
namespace {

constexpr const char* kArenaPurpose = "activations";
constexpr const char* kScratchPurpose = "kernel scratch";

struct NoHook {
  void operator()(size_t) const {}
};

Image ImageAt(const ImageBatch& batch, int64_t index) {
  Image image = batch.first;
  image.data += index * batch.image_stride;
  return image;
}

}  // namespace

// A workspace for a call that runs alone: one that such a call left, or a new one.
class Engine::SerialLease {
 public:
  SerialLease(Engine& engine, const Program& program) : engine_(engine) {
    {
      std::lock_guard<std::mutex> lock(ForkSafeMutex());
      if (!engine.idle_workspaces_.empty()) {
        workspace_ = std::move(engine.idle_workspaces_.back());
        engine.idle_workspaces_.pop_back();
      }
    }
    if (!workspace_) workspace_ = std::make_unique<Workspace>();
    workspace_->arena.Reserve(program.arena_bytes, kArenaPurpose);
    workspace_->scratch.Reserve(program.scratch_bytes, kScratchPurpose);
  }
  ~SerialLease() {
    std::lock_guard<std::mutex> lock(ForkSafeMutex());
    // Room was reserved: more callers than that at once give their memory back.
    if (engine_.idle_workspaces_.size() < engine_.idle_workspaces_.capacity()) {
      engine_.idle_workspaces_.push_back(std::move(workspace_));
    }
  }
  SerialLease(const SerialLease&) = delete;
  SerialLease& operator=(const SerialLease&) = delete;

  Workspace& operator*() const { return *workspace_; }

 private:
  Engine& engine_;
  std::unique_ptr<Workspace> workspace_;
};

Engine::Engine(Plan plan, const KernelTable& table, int threads)
    : plan_(std::move(plan)),
      table_(table),
      facts_(CheckPlan(plan_, table)),
      weights_(plan_, table),
      pool_(threads),
      team_workspaces_(static_cast<size_t>(threads)) {
  ForgetWeights(plan_);
  constexpr size_t kFewest = 4;
  idle_workspaces_.reserve(std::max(kFewest, static_cast<size_t>(threads)));
}

Engine::~Engine() = default;

std::shared_ptr<const Program> Engine::ProgramFor(int64_t height, int64_t width) {
  if (std::shared_ptr<const Program> found = programs_.Find(height, width)) return found;
  auto program = std::make_shared<Program>(BuildProgram(plan_, table_.element, height, width));
  CheckAffordable(program->arena_bytes, kArenaPurpose);
  Image image;
  image.channels = plan_.image_channels;
  image.height = height;
  image.width = width;
  const Frame frame = FrameOf(*program, image, nullptr);
  for (size_t step = 0; step < plan_.steps.size(); ++step) {
    VisitStep(table_, frame, step, [&](const auto& kernel, const auto& args) {
      program->scratch_bytes = std::max(program->scratch_bytes, kernel.scratch_bytes(args));
    });
  }
  programs_.Insert(program);
  return program;
}

Frame Engine::FrameOf(const Program& program, const Image& image, std::byte* arena) const {
  return {&plan_, &program, &weights_, table_.element, arena, image};
}

int64_t Engine::OutputElements(const Program& program, size_t output) const {
  return ElementsOf(plan_, program, plan_.outputs[output]);
}

// Runs this thread's share of every step, meeting the team after each; after_step(step) follows.
template <class AfterStep>
void Engine::RunSteps(const Frame& frame, const Team& team, std::byte* scratch,
                      AfterStep&& after_step) const {
  for (size_t step = 0; step < plan_.steps.size(); ++step) {
    if (!frame.program->skipped[step]) {
      VisitStep(table_, frame, step, [&](const auto& kernel, const auto& args) {
        const Range share = ShareOf(WorkOf(args), team.index, team.size);
        if (share.begin < share.end) kernel.run(args, share, scratch);
      });
      team.Sync();
    }
    after_step(step);
  }
}

void Engine::WriteOutputs(const Frame& frame, int64_t index, float* const* outputs) const {
  for (size_t i = 0; i < plan_.outputs.size(); ++i) {
    const int tensor = plan_.outputs[i];
    const bool is_float = plan_.tensors[tensor].type == TensorType::kFloat;
    const DType type = is_float ? DType::kF32 : table_.element;
    WritePlanar(TensorMap(frame, tensor), type, outputs[i] + index * OutputElements(*frame.program, i));
  }
}

void Engine::RunImage(const ImageBatch& batch, int64_t index, const Program& program, const Team& team,
                      std::byte* arena, std::byte* scratch, float* const* outputs) const {
  const Frame frame = FrameOf(program, ImageAt(batch, index), arena);
  RunSteps(frame, team, scratch, NoHook{});
  if (team.index == 0) WriteOutputs(frame, index, outputs);
  team.Sync();  // the next image overwrites the arena
}

void Engine::ReserveTeam(const Program& program, size_t arenas) {
  for (size_t i = 0; i < team_workspaces_.size(); ++i) {
    if (i < arenas) team_workspaces_[i].arena.Reserve(program.arena_bytes, kArenaPurpose);
    team_workspaces_[i].scratch.Reserve(program.scratch_bytes, kScratchPurpose);
  }
}

void Engine::Run(const ImageBatch& batch, const Program& program, float* const* outputs) {
  if (batch.count == 0) return;
  if (threads() > 1) {
    ThreadPool::Lease lease(pool_);
    if (lease.held()) {
      ReserveTeam(program, batch.count >= lease.team_size() ? lease.team_size() : 1);
      std::atomic<int64_t> next{0};
      lease.Run([&](const Team& team) {
        Workspace& own = team_workspaces_[static_cast<size_t>(team.index)];
        const BatchShare share = ShareBatch(batch.count, team.size);
        for (int64_t i = next.fetch_add(1); i < share.whole; i = next.fetch_add(1)) {
          RunImage(batch, i, program, Team{}, own.arena.data(), own.scratch.data(), outputs);
        }
        if (share.split == 0) return;
        team.Sync();  // the first arena is about to be everybody's
        for (int64_t i = share.whole; i < batch.count; ++i) {
          RunImage(batch, i, program, team, team_workspaces_[0].arena.data(), own.scratch.data(), outputs);
        }
      });
      return;
    }
  }
  SerialLease workspace(*this, program);
  for (int64_t i = 0; i < batch.count; ++i) {
    RunImage(batch, i, program, Team{}, (*workspace).arena.data(), (*workspace).scratch.data(), outputs);
  }
}

std::vector<StepProfile> Engine::Profile(const Image& image, int repeats) {
  using Clock = std::chrono::steady_clock;
  const std::shared_ptr<const Program> program = ProgramFor(image.height, image.width);
  std::vector<std::vector<double>> times(plan_.steps.size());
  for (std::vector<double>& of_step : times) of_step.reserve(static_cast<size_t>(repeats));
  const auto run_once = [&](const Team& team, Workspace& own, std::byte* arena, bool keep) {
    auto before = Clock::now();
    RunSteps(FrameOf(*program, image, arena), team, own.scratch.data(), [&](size_t step) {
      if (team.index != 0) return;
      const auto now = Clock::now();
      if (keep) times[step].push_back(std::chrono::duration<double, std::milli>(now - before).count());
      before = now;
    });
  };
  const auto run_all = [&](const Team& team, Workspace& own, std::byte* arena) {
    for (int i = 0; i <= repeats; ++i) run_once(team, own, arena, i > 0);
  };

  ThreadPool::Lease lease(pool_);
  if (lease.held() && threads() > 1) {
    ReserveTeam(*program, 1);
    lease.Run([&](const Team& team) {
      run_all(team, team_workspaces_[static_cast<size_t>(team.index)], team_workspaces_[0].arena.data());
    });
  } else {
    SerialLease workspace(*this, *program);
    run_all(Team{}, *workspace, (*workspace).arena.data());
  }

  std::vector<StepProfile> profile;
  const Frame frame = FrameOf(*program, image, nullptr);
  for (size_t step = 0; step < times.size(); ++step) {
    profile.push_back({Median(std::move(times[step])), CostOf(frame, step)});
  }
  return profile;
}

EngineMemory Engine::MemoryFor(const Program& program) const {
  return {weights_.bytes(), program.arena_bytes, program.scratch_bytes, program.naive_bytes};
}

}  // namespace mvf

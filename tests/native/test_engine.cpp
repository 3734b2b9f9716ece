#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <thread>

#include "check.h"
#include "engine/engine.h"
#include "plain_table.h"
#include "sample_plan.h"

namespace {
std::atomic<long> allocations{0};
}  // namespace

void* operator new(size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace mvf {
namespace {

using mvf_test::MakeSamplePlan;
using mvf_test::PlainTable;
using mvf_test::RandomFloats;
using mvf_test::SamplePlan;

struct Images {
  Images(int64_t count, int64_t height, int64_t width) : count(count), height(height), width(width) {
    data = floats.Make(count * 3 * height * width + 1);
  }
  ImageBatch batch() const {
    return {{data, 3, height, width, height * width, width, 1}, count, 3 * height * width};
  }
  RandomFloats floats;
  int64_t count, height, width;
  const float* data;
};

using Outputs = std::vector<std::vector<float>>;

Outputs Run(Engine& engine, const ImageBatch& batch) {
  const auto program = engine.ProgramFor(batch.first.height, batch.first.width);
  Outputs outputs;
  std::vector<float*> places;
  for (size_t i = 0; i < engine.plan().outputs.size(); ++i) {
    outputs.emplace_back(static_cast<size_t>(batch.count * engine.OutputElements(*program, i)));
    places.push_back(outputs.back().data());
  }
  engine.Run(batch, *program, places.data());
  return outputs;
}

// One image at a time, every tensor in memory of its own, every resize carried out.
Outputs RunUnshared(const Plan& plan, const ImageBatch& batch) {
  Program program = BuildProgram(plan, DType::kF32, batch.first.height, batch.first.width);
  size_t bytes = 0;
  for (TensorPlace& place : program.tensors) {
    place.offset = bytes;
    bytes += RoundUp(place.bytes, kCacheLine);
  }
  program.skipped.assign(plan.steps.size(), false);
  const PackedWeights weights(plan, PlainTable());
  const AlignedBuffer arena(bytes, "a test");
  Outputs outputs(plan.outputs.size());
  for (int64_t n = 0; n < batch.count; ++n) {
    Image image = batch.first;
    image.data += n * batch.image_stride;
    const Frame frame{&plan, &program, &weights, DType::kF32, arena.data(), image};
    for (size_t step = 0; step < plan.steps.size(); ++step) {
      VisitStep(PlainTable(), frame, step, [](const auto& kernel, const auto& args) {
        kernel.run(args, {0, WorkOf(args).units}, nullptr);
      });
    }
    for (size_t i = 0; i < plan.outputs.size(); ++i) {
      const Map map = TensorMap(frame, plan.outputs[i]);
      for (int64_t c = 0; c < map.channels; ++c) {
        for (int64_t y = 0; y < map.height; ++y) {
          for (int64_t x = 0; x < map.width; ++x) outputs[i].push_back(map.Pixel<float>(y, x)[c]);
        }
      }
    }
  }
  return outputs;
}

TEST(engine, sharing_memory_and_threads_changes_nothing) {
  const SamplePlan sample = MakeSamplePlan();
  for (int threads : {1, 2, 3, 5}) {
    Engine engine(sample.plan, PlainTable(), threads);
    for (const auto& [height, width] : {std::pair{16, 16}, {28, 28}, {13, 17}, {1, 1}, {3, 40}}) {
      for (int64_t count : {1, 2, 3, 7}) {
        const Images images(count, height, width);
        CHECK(Run(engine, images.batch()) == RunUnshared(sample.plan, images.batch()));
      }
    }
  }
}

TEST(engine, different_images_get_different_answers) {
  const SamplePlan sample = MakeSamplePlan();
  Engine engine(sample.plan, PlainTable(), 2);
  const Outputs outputs = Run(engine, Images(2, 16, 16).batch());
  float difference = 0;
  for (size_t i = 0; i < 5; ++i) difference += std::fabs(outputs[1][i] - outputs[1][i + 5]);
  CHECK(difference > 1e-3f);
}

TEST(engine, no_images_give_no_output) {
  const SamplePlan sample = MakeSamplePlan();
  Engine engine(sample.plan, PlainTable(), 2);
  CHECK(Run(engine, Images(0, 16, 16).batch()) == Outputs(2));
}

TEST(engine, images_are_walked_by_any_strides) {
  const SamplePlan sample = MakeSamplePlan();
  Engine engine(sample.plan, PlainTable(), 1);
  const Images images(1, 12, 10);
  // The same pixels with channels last, and with both axes turned round and read backwards.
  std::vector<float> last(360), turned(360);
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t y = 0; y < 12; ++y) {
      for (int64_t x = 0; x < 10; ++x) {
        last[static_cast<size_t>((y * 10 + x) * 3 + c)] = images.data[(c * 12 + y) * 10 + x];
        turned[static_cast<size_t>((c * 12 + 11 - y) * 10 + 9 - x)] = images.data[(c * 12 + y) * 10 + x];
      }
    }
  }
  const Outputs expected = Run(engine, images.batch());
  CHECK(Run(engine, {{last.data(), 3, 12, 10, 1, 30, 3}, 1, 0}) == expected);
  CHECK(Run(engine, {{turned.data() + 119, 3, 12, 10, 120, -10, -1}, 1, 0}) == expected);
}

TEST(engine, callers_at_the_same_time_do_not_disturb_each_other) {
  const SamplePlan sample = MakeSamplePlan();
  Engine engine(sample.plan, PlainTable(), 2);
  const Images small(3, 13, 17), large(2, 28, 28);
  const Outputs small_expected = RunUnshared(sample.plan, small.batch());
  const Outputs large_expected = RunUnshared(sample.plan, large.batch());
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 10; ++round) {
        const bool is_small = (caller + round) % 2 == 0;
        wrong +=
            Run(engine, (is_small ? small : large).batch()) != (is_small ? small_expected : large_expected);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQUAL(wrong.load(), 0);
}

// A table that allocates nothing itself: the engine's own allocations are what is counted.
KernelTable IdleTable() {
  KernelTable table = PlainTable();
  table.linear.run = [](const LinearArgs&, Range, void*) {};
  table.ffn.run = [](const FfnArgs&, Range, void*) {};
  table.inverted_residual.run = [](const InvertedResidualArgs&, Range, void*) {};
  table.attention.run = [](const AttentionArgs&, Range, void*) {};
  table.layer_norm.run = [](const LayerNormArgs&, Range, void*) {};
  return table;
}

TEST(engine, a_size_that_was_run_before_allocates_nothing) {
  const SamplePlan sample = MakeSamplePlan();
  const KernelTable table = IdleTable();
  for (int threads : {1, 2}) {
    Engine engine(sample.plan, table, threads);
    for (int64_t count : {1, 4}) {
      const Images images(count, 28, 28);
      const auto program = engine.ProgramFor(28, 28);
      std::vector<float> map(static_cast<size_t>(count * engine.OutputElements(*program, 0)));
      std::vector<float> logits(static_cast<size_t>(count * engine.OutputElements(*program, 1)));
      float* places[] = {map.data(), logits.data()};
      engine.Run(images.batch(), *program, places);
      const long before = allocations;
      engine.Run(images.batch(), *engine.ProgramFor(28, 28), places);
      CHECK_EQUAL(allocations - before, 0);
    }
  }
}

TEST(engine, the_arena_is_smaller_than_the_tensors) {
  const SamplePlan sample = MakeSamplePlan();
  Engine engine(sample.plan, PlainTable(), 1);
  const EngineMemory memory = engine.MemoryFor(*engine.ProgramFor(64, 64));
  CHECK(memory.arena > 0);
  CHECK(2 * memory.arena < memory.unshared);
  CHECK(memory.weights > 0);
}

TEST(engine, steps_that_change_nothing_are_skipped) {
  const SamplePlan sample = MakeSamplePlan();
  const auto skipped = [&](int64_t size) {
    const Program program = BuildProgram(sample.plan, DType::kF32, size, size);
    int count = 0;
    for (bool skip : program.skipped) count += skip;
    return count;
  };
  CHECK_EQUAL(skipped(32), 2);  // maps of 8x8: both resizes
  CHECK_EQUAL(skipped(28), 0);  // 7x7
}

TEST(engine, programs_of_old_sizes_are_let_go) {
  const SamplePlan sample = MakeSamplePlan();
  Engine engine(sample.plan, PlainTable(), 1);
  const std::weak_ptr<const Program> first = engine.ProgramFor(8, 8);
  CHECK(!first.expired());
  for (int64_t size = 9; size < 40; ++size) engine.ProgramFor(size, size);
  CHECK(first.expired());
}

TEST(engine, sizes_that_do_not_fit_are_refused) {
  SamplePlan sample = MakeSamplePlan();
  sample.step("like").like = sample.step("stem").output;
  Engine unlike(sample.plan, PlainTable(), 1);
  CHECK_THROWS(std::invalid_argument, "cannot be concatenated", unlike.ProgramFor(16, 16));
  sample = MakeSamplePlan();
  sample.step("attention").patch_width = 3;
  Engine undivided(sample.plan, PlainTable(), 1);
  CHECK_THROWS(std::invalid_argument, "do not divide its map of 4x4", undivided.ProgramFor(16, 16));
}

TEST(engine, sizes_beyond_memory_are_refused) {
  const SamplePlan sample = MakeSamplePlan();
  Engine engine(sample.plan, PlainTable(), 1);
  CHECK_THROWS(OutOfMemory, "activations", engine.ProgramFor(int64_t{1} << 24, int64_t{1} << 24));
  CHECK_THROWS(OutOfMemory, "addressed", engine.ProgramFor(INT64_MAX, 1));
  CHECK_THROWS(OutOfMemory, "addressed", engine.ProgramFor(int64_t{1} << 40, int64_t{1} << 40));
}

TEST(engine, profile_counts_every_step) {
  const SamplePlan sample = MakeSamplePlan();
  for (int threads : {1, 2}) {
    Engine engine(sample.plan, PlainTable(), threads);
    const std::vector<StepProfile> profile = engine.Profile(Images(1, 32, 32).batch().first, 3);
    CHECK_EQUAL(profile.size(), sample.plan.steps.size());
    CHECK_EQUAL(profile[0].cost.macs, 16 * 16 * 8 * 27);                           // stem
    CHECK_EQUAL(profile[1].cost.macs, 16 * 16 * 8 * 16 + 16 * 16 * 16 * (9 + 8));  // inverted residual
    CHECK_EQUAL(profile[7].cost.macs, 2 * 64 * 16 * 12);  // attention: 16 tokens, 4 positions
    CHECK_EQUAL(profile[5].cost.macs, 0);                 // a resize that is skipped
    for (const StepProfile& step : profile) CHECK(step.milliseconds >= 0);
  }
}

TEST(engine, batches_are_shared_by_the_stated_rule) {
  CHECK_EQUAL(ShareBatch(1, 4).whole, 0);
  CHECK_EQUAL(ShareBatch(1, 4).split, 1);
  CHECK_EQUAL(ShareBatch(4, 4).whole, 4);
  CHECK_EQUAL(ShareBatch(7, 4).whole, 4);
  CHECK_EQUAL(ShareBatch(7, 4).split, 3);
  CHECK_EQUAL(ShareBatch(7, 1).whole, 7);
}

TEST(engine, shares_cover_the_work_once) {
  for (int64_t units : {1, 7, 8, 9, 64, 65}) {
    for (int64_t grain : {1, 4, 8}) {
      for (int64_t count : {1, 2, 3, 7}) {
        int64_t next = 0;
        for (int64_t index = 0; index < count; ++index) {
          const Range share = ShareOf({units, grain}, index, count);
          if (share.begin == share.end) continue;
          CHECK_EQUAL(share.begin, next);
          CHECK(share.begin % grain == 0);
          next = share.end;
        }
        CHECK_EQUAL(next, units);
      }
    }
  }
}

}  // namespace
}  // namespace mvf

#include <algorithm>
#include <stdexcept>

#include "cuda_cases.h"
#include "emulated_device.h"
#include "engine/cuda_engine.h"
#include "sample_plan.h"

// The device's engine, all of it but the CUDA runtime, beside the host's engine on plain loops.
namespace mvf_test {
namespace {

using Outputs = std::vector<std::vector<float>>;

struct Images {
  Images(int64_t count, int64_t height, int64_t width, int seed = 0)
      : count(count), height(height), width(width) {
    for (int i = 0; i < seed; ++i) floats.Make(1);
    data = floats.Make(count * 3 * height * width);
  }
  ImageBatch batch() const {
    return {{data, 3, height, width, height * width, width, 1}, count, 3 * height * width};
  }
  RandomFloats floats;
  int64_t count, height, width;
  const float* data;
};

// Places for the outputs of `engine`, and those outputs as launch(places, program) fills them.
template <class AnyEngine, class Launch>
Outputs Collect(AnyEngine& engine, const Images& images, Launch&& launch) {
  const std::shared_ptr<const Program> program = engine.ProgramFor(images.height, images.width);
  Outputs outputs;
  std::vector<float*> places;
  for (size_t i = 0; i < engine.plan().outputs.size(); ++i) {
    outputs.push_back(Unwritten<float>(images.count * engine.OutputElements(*program, i)));
    places.push_back(outputs.back().data());
  }
  launch(program, places.data());
  return outputs;
}

Outputs RunPlain(const Plan& plan, const Images& images) {
  Engine engine(plan, PlainTable(), 1);
  return Collect(engine, images, [&](const auto& program, float* const* places) {
    engine.Run(images.batch(), *program, places);
  });
}

Outputs Run(CudaEngine& engine, const Images& images) {
  return Collect(engine, images, [&](const auto& program, float* const* places) {
    engine.Run(images.batch(), program, places, nullptr);
  });
}

template <class Element>
void CheckAgainstPlain(const Outputs& actual, const Outputs& expected, double roundings) {
  for (size_t i = 0; i < expected.size(); ++i) {
    CheckClose<Element>(actual[i], expected[i], roundings, "output " + std::to_string(i));
  }
}

template <class Element>
void CheckEngine(double roundings) {
  const SamplePlan sample = MakeSamplePlan();
  CudaEngine engine(sample.plan, TableOf<Element>(), 0);
  for (const auto& [height, width] : {std::pair{16, 16}, {13, 17}, {1, 1}}) {
    for (int64_t count : {1, 3}) {
      const Images images(count, height, width);
      CheckAgainstPlain<Element>(Run(engine, images), RunPlain(sample.plan, images), roundings);
    }
  }
}

TEST(cuda_engine, computes_what_the_host_computes_f32) { CheckEngine<float>(20); }
TEST(cuda_engine, computes_what_the_host_computes_f16) { CheckEngine<Half>(10); }
TEST(cuda_engine, computes_what_the_host_computes_tf32) { CheckEngine<Tf32>(10); }
TEST(cuda_engine, computes_what_the_host_computes_bf16) { CheckEngine<Bf16>(10); }

TEST(cuda_engine, a_graph_is_repeated_on_other_images) {
  const SamplePlan sample = MakeSamplePlan();
  CudaEngine engine(sample.plan, CudaTableF32(), 0);
  const Images first(2, 12, 9), second(2, 12, 9, 5);
  CHECK(RunPlain(sample.plan, first) != RunPlain(sample.plan, second));
  for (const Images* images : {&first, &second, &first}) {
    CheckAgainstPlain<float>(Run(engine, *images), RunPlain(sample.plan, *images), 512);
  }
  CHECK_EQUAL(engine.graph_count(), 1u);
}

TEST(cuda_engine, a_larger_batch_lets_the_graphs_of_smaller_ones_go) {
  const SamplePlan sample = MakeSamplePlan();
  CudaEngine engine(sample.plan, CudaTableF32(), 0);
  const Images one(1, 8, 8), two(2, 8, 8);
  const Outputs expected = Run(engine, one);
  Run(engine, two);
  CHECK_EQUAL(engine.graph_count(), 1u);
  CHECK(Run(engine, one) == expected);
  CHECK_EQUAL(engine.graph_count(), 2u);
}

TEST(cuda_engine, graphs_are_bounded) {
  const SamplePlan sample = MakeSamplePlan();
  CudaEngine engine(sample.plan, CudaTableF32(), 0);
  for (int64_t count = 70; count > 0; --count) Run(engine, Images(count, 1, 1));
  CHECK_EQUAL(engine.graph_count(), 64u);
}

TEST(cuda_engine, host_memory_gives_the_same) {
  const SamplePlan sample = MakeSamplePlan();
  CudaEngine engine(sample.plan, CudaTableF16(), 0);
  for (int64_t count : {1, 3, 0, 2}) {
    const Images images(count, 10, 6);
    const Outputs from_host = Collect(engine, images, [&](const auto& program, float* const* places) {
      engine.RunHost(images.batch(), program, places);
    });
    CHECK(from_host == Run(engine, images));
  }
}

TEST(cuda_engine, a_recording_keeps_its_arena) {
  const SamplePlan sample = MakeSamplePlan();
  CudaEngine engine(sample.plan, CudaTableF32(), 0);
  const Images small(1, 8, 8), large(4, 8, 8);
  PretendCapturing(true);
  CHECK_THROWS(std::invalid_argument, "run once before", Run(engine, small));
  PretendCapturing(false);
  const Outputs expected = Run(engine, small);
  PretendCapturing(true);
  CHECK(Run(engine, small) == expected);
  PretendCapturing(false);
  const size_t before = DeviceBytesInUse();
  const auto program = engine.ProgramFor(8, 8);
  Run(engine, large);
  CHECK_EQUAL(DeviceBytesInUse() - before, 4 * program->arena_bytes);
}

TEST(cuda_engine, memory_is_given_back) {
  const size_t before = DeviceBytesInUse();
  {
    const SamplePlan sample = MakeSamplePlan();
    CudaEngine engine(sample.plan, CudaTableF32(), 0);
    Run(engine, Images(1, 8, 8));
    CHECK(DeviceBytesInUse() > before);
  }
  CHECK_EQUAL(DeviceBytesInUse(), before);
}

TEST(cuda_engine, steps_on_bytes_are_refused) {
  SamplePlan sample = MakeSamplePlan();
  sample.plan.tensors.push_back({8, TensorType::kBytes});
  Step quantize;
  quantize.kind = StepKind::kQuantize;
  quantize.name = "to bytes";
  quantize.input = sample.step("stem").output;
  quantize.output = static_cast<int>(sample.plan.tensors.size()) - 1;
  sample.plan.steps.push_back(quantize);
  CHECK_THROWS(std::invalid_argument, "fp16 kernels know no steps on bytes; use precision='int8'",
               CudaEngine(sample.plan, CudaTableF16(), 0));
}

TEST(cuda_engine, devices_older_than_the_kernels_are_refused) {
  const SamplePlan sample = MakeSamplePlan();
  PretendCapability(7);
  CHECK_THROWS(std::invalid_argument,
               "CUDA device 0 (emulated) has compute capability 7.0; the kernels need 8.0 or later",
               CudaEngine(sample.plan, CudaTableF16(), 0));
  PretendCapability(9);
}

}  // namespace
}  // namespace mvf_test

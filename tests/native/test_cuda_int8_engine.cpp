#include <memory>
#include <stdexcept>

#include "cuda_int8_cases.h"
#include "engine/cuda_engine.h"
#include "int8_sample_plan.h"

// The device's engine on plans of bytes beside the CPU's with its plain C++ kernels: whole models, every bit.
namespace mvf_test {
namespace {

using namespace mvf;

using Outputs = std::vector<std::vector<float>>;

struct Images {
  Images(Random& random, int64_t count, int64_t height, int64_t width)
      : count(count),
        height(height),
        width(width),
        data(random.MakeFloats(count * 3 * height * width, -1, 1)) {}
  ImageBatch batch() const {
    return {{data.data(), 3, height, width, height * width, width, 1}, count, 3 * height * width};
  }
  int64_t count, height, width;
  std::vector<float> data;
};

// Places for the outputs of `engine`, and those outputs as launch(places, program) fills them.
template <class AnyEngine, class Launch>
Outputs Collect(AnyEngine& engine, const Images& images, Launch&& launch) {
  const std::shared_ptr<const Program> program = engine.ProgramFor(images.height, images.width);
  Outputs outputs;
  std::vector<float*> places;
  for (size_t i = 0; i < engine.plan().outputs.size(); ++i) {
    const int64_t elements = images.count * engine.OutputElements(*program, i);
    places.push_back(outputs.emplace_back(static_cast<size_t>(elements), -7.0f).data());
  }
  launch(program, places.data());
  return outputs;
}

Outputs RunHost(const Plan& plan, const Images& images) {
  Engine engine(plan, *ScalarTable(), 1);
  return Collect(engine, images, [&](const auto& program, float* const* places) {
    engine.Run(images.batch(), *program, places);
  });
}

Outputs RunDevice(CudaEngine& engine, const Images& images) {
  return Collect(engine, images, [&](const auto& program, float* const* places) {
    engine.Run(images.batch(), program, places, nullptr);
  });
}

void CheckModel(const Int8Widths& widths, int64_t count, int64_t height, int64_t width) {
  Random random;
  const Int8SamplePlan sample = MakeInt8SamplePlan(widths);
  CudaEngine engine(sample.plan, CudaTableInt8(), 0);
  const Images first(random, count, height, width), second(random, count, height, width);
  CHECK(RunHost(sample.plan, first) != RunHost(sample.plan, second));
  for (const Images* images : {&first, &second}) {  // recorded, then repeated
    const Outputs expected = RunHost(sample.plan, *images), actual = RunDevice(engine, *images);
    for (size_t i = 0; i < expected.size(); ++i) {
      CheckSame(
          actual[i], expected[i],
          "output " + std::to_string(i) + " of " + std::to_string(height) + " x " + std::to_string(width));
    }
  }
}

constexpr Int8Widths kOdd = {5, 11, 7, 3, 15, 21, 9, 3};

TEST(cuda_int8_engine, gives_every_bit_that_the_host_gives) {
  CheckModel({}, 1, 64, 64);
  CheckModel({}, 3, 34, 50);
  CheckModel({}, 2, 12, 9);
}

TEST(cuda_int8_engine, gives_every_bit_of_odd_widths) {
  CheckModel(kOdd, 3, 29, 37);
  CheckModel(kOdd, 1, 16, 16);
  CheckModel(kOdd, 2, 1, 1);
}

TEST(cuda_int8_engine, float_layers_run_beside_those_on_bytes) {
  Random random;
  Int8SamplePlan sample = MakeInt8SamplePlan(kOdd);
  Step& classifier = sample.step("classifier");
  classifier.kind = StepKind::kLinear;
  classifier.linear.in = kOdd.head;
  classifier.linear.out = kOdd.classes;
  classifier.linear_weights = {sample.arrays.Floats(kOdd.head * kOdd.classes, -1, 1),
                               sample.arrays.Floats(kOdd.classes, -1, 1)};
  CudaEngine engine(sample.plan, CudaTableInt8(), 0);
  const Images images(random, 2, 24, 24);
  const Outputs expected = RunHost(sample.plan, images), actual = RunDevice(engine, images);
  CheckSame(actual[0], expected[0], "the map");
  for (size_t i = 0; i < expected[1].size(); ++i) {
    CHECK(std::fabs(actual[1][i] - expected[1][i]) <= 1e-5f * (1 + std::fabs(expected[1][i])));
  }
}

TEST(cuda_int8_engine, what_has_no_kernels_is_refused) {
  const auto engine_of = [](const Plan& plan, const CudaTable& table) { CudaEngine(plan, table, 0); };
  Int8SamplePlan sample = MakeInt8SamplePlan(kOdd);
  CHECK_THROWS(std::invalid_argument, "step 0 (int8_stem 'stem'): CUDA's fp16 kernels know no steps on bytes",
               engine_of(sample.plan, CudaTableF16()));
  sample.step("embed").int8_linear_weights.activation = Activation::kSilu;
  CHECK_THROWS(std::invalid_argument, "know no activation of sums that stay floats",
               engine_of(sample.plan, CudaTableInt8()));
  Int8SamplePlan dynamic = MakeInt8SamplePlan(kOdd);
  dynamic.step("classifier").int8_linear.input = Int8Input::kDynamic;
  CHECK_THROWS(std::invalid_argument, "know no dynamic quantisation; use device='cpu'",
               engine_of(dynamic.plan, CudaTableInt8()));
}

}  // namespace
}  // namespace mvf_test

#include <cmath>
#include <stdexcept>

#include "check.h"
#include "engine/plan_check.h"
#include "sample_plan.h"

namespace mvf {
namespace {

using mvf_test::MakeSamplePlan;
using mvf_test::SamplePlan;

TEST(plan_check, the_sample_is_accepted) {
  const SamplePlan sample = MakeSamplePlan();
  const PlanFacts facts = CheckPlan(sample.plan);
  CHECK(!facts.is_vector[static_cast<size_t>(sample.plan.outputs[0])]);
  CHECK(facts.is_vector[static_cast<size_t>(sample.plan.outputs[1])]);
}

// Breaks a sample plan in one way and expects these words.
#define REFUSES(words, ...)                                             \
  do {                                                                  \
    SamplePlan sample = MakeSamplePlan();                               \
    __VA_ARGS__;                                                        \
    CHECK_THROWS(std::invalid_argument, words, CheckPlan(sample.plan)); \
  } while (false)

TEST(plan_check, structure) {
  REFUSES("no steps", sample.plan.steps.clear());
  REFUSES("the stem", sample.plan.steps.erase(sample.plan.steps.begin()));
  REFUSES("the stem", sample.plan.steps.push_back(sample.plan.steps.front()));
  REFUSES("no outputs", sample.plan.outputs.clear());
  REFUSES("output 99", sample.plan.outputs = {99});
  REFUSES("output -1", sample.plan.outputs = {-1});
  REFUSES("output 0", sample.plan.tensors.push_back({8, TensorType::kElement}); sample.plan.steps.resize(1);
          sample.plan.steps[0].output = static_cast<int>(sample.plan.tensors.size()) - 1;
          sample.plan.outputs = {0});
  REFUSES("image_channels", sample.plan.image_channels = 0);
}

TEST(plan_check, tensors) {
  REFUSES("tensor 2 has 0 channels", sample.plan.tensors[2].channels = 0);
  REFUSES("tensor 2 has", sample.plan.tensors[2].channels = int64_t{1} << 40);
  REFUSES("step 4 (linear 'embed'): input is tensor 77", sample.step("embed").input = 77);
  REFUSES("input is tensor -1", sample.step("embed").input = -1);
  REFUSES("output is tensor 77", sample.step("embed").output = 77);
  REFUSES("is read before", sample.step("local").input = sample.step("fuse").output);
  REFUSES("is read before", sample.step("like").like = sample.step("fuse").output);
  REFUSES("is read before", sample.step("projection").residual = sample.step("fuse").output);
  REFUSES("a second time", sample.step("norm").output = sample.step("attention").output);
  REFUSES("channels; expected 10",
          sample.plan.tensors[static_cast<size_t>(sample.step("local").output)].channels = 11);
  REFUSES("type element",
          sample.plan.tensors[static_cast<size_t>(sample.step("norm").output)].type = TensorType::kFloat);
  REFUSES("is a vector", Step again = sample.step("pool"); again.input = again.output;
          sample.plan.steps.push_back(again));
}

TEST(plan_check, steps) {
  REFUSES("stride is 3", sample.step("stem").conv.stride = 3);
  REFUSES("stride is 0", sample.step("residual").inverted_residual.stride = 0);
  REFUSES("stride 1", sample.step("residual").inverted_residual.stride = 2);
  REFUSES("the image has 3", sample.step("stem").conv.in = 4);
  REFUSES("must be direct", sample.step("stem").conv.algorithm = ConvAlgorithm::kWinograd2);
  REFUSES("Winograd", sample.step("local").conv.algorithm = ConvAlgorithm::kWinograd4;
          sample.step("local").conv.stride = 2);
  REFUSES("second_input", sample.step("fuse").conv.in_second = 0);
  REFUSES("second_input is tensor -1", sample.step("fuse").second_input = -1);
  REFUSES("expands to", sample.step("residual").inverted_residual.expanded = 0);
  REFUSES("weight is missing", sample.step("local").conv_weights.weight = nullptr);
  REFUSES("weight is missing", sample.step("norm").beta = nullptr);
  REFUSES("weight is missing", sample.step("ffn").ffn_weights.down.weight = nullptr);
  REFUSES("heads", sample.step("attention").heads = 5);
  REFUSES("heads", sample.step("attention").heads = 0);
  REFUSES("patch is 0x2", sample.step("attention").patch_height = 0);
  REFUSES("patch is 2x", sample.step("to patch").patch_width = int64_t{1} << 40);
  REFUSES("in place", sample.step("ffn").output = 0);
  REFUSES("epsilon", sample.step("ffn").ffn.epsilon = -1);
  REFUSES("epsilon", sample.step("qkv").linear.epsilon = std::nanf(""));
  REFUSES("hidden width", sample.step("ffn").ffn.hidden = 0);
}

}  // namespace
}  // namespace mvf

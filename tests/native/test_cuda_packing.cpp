#include "cuda/device_packing.h"
#include "cuda_cases.h"
#include "engine/pack.h"

// Weights packed on the device, run by the emulator, are byte for byte those packed on the host.
namespace mvf_test {
namespace {

// A weight and its bias, as float and in the device's type.
template <class Element>
struct Layer {
  Layer(Random& random, int64_t out, int64_t in, bool with_bias)
      : weight(random.Make<Element>(out * in)),
        bias(random.Make<Element>(with_bias ? out : 0)),
        rounded_weight(RoundAll<Element>(weight)),
        rounded_bias(RoundAll<Element>(bias)) {}

  const float* BiasOrNull() const { return bias.empty() ? nullptr : bias.data(); }
  LinearWeights Host() const { return {weight.data(), BiasOrNull()}; }
  DeviceWeights Device() const {
    return {rounded_weight.data(), bias.empty() ? nullptr : rounded_bias.data()};
  }

  std::vector<float> weight, bias;
  std::vector<Element> rounded_weight, rounded_bias;
};

// Every byte is written: what a device's allocator gives holds anything.
template <class Element, class Shape, class Weights, class OnDevice>
void CheckPacking(const Packing<Shape, Weights>& packing, const Shape& shape, const Weights& weights,
                  const OnDevice& on_device) {
  const AlignedBuffer expected = Pack(packing, shape, weights);
  for (bool last_first : {false, true}) {
    SetSchedule({last_first, false});
    const size_t bytes = packing.packed_bytes(shape);
    const AlignedBuffer actual(bytes, "packed weights");
    std::fill_n(actual.data(), bytes, std::byte{0xff});
    PackOnDevice(TableOf<Element>().element, shape, on_device, actual.data(), FewMultiprocessors(1));
    CHECK(std::equal(actual.data(), actual.data() + bytes, expected.data()));
  }
  SetSchedule({});
}

template <class Element>
void CheckLayers() {
  const CudaTable& table = TableOf<Element>();
  Random random;
  struct Case {
    int64_t in, out;
    bool with_bias;
  };
  for (const Case& test : {Case{1, 1, true}, {33, 65, true}, {64, 64, false}, {100, 7, true}}) {
    const Layer<Element> linear(random, test.out, test.in, test.with_bias);
    LinearShape linear_shape;
    linear_shape.in = test.in;
    linear_shape.out = test.out;
    CheckPacking<Element>(table.linear_packing, linear_shape, linear.Host(), linear.Device());

    const Layer<Element> conv(random, test.out, 9 * test.in, test.with_bias);
    Conv3x3Shape conv_shape;
    conv_shape.in = test.in;
    conv_shape.out = test.out;
    CheckPacking<Element>(table.conv3x3_packing, conv_shape,
                          Conv3x3Weights{conv.weight.data(), conv.BiasOrNull()}, conv.Device());

    const int64_t expanded = 2 * test.in + 1;
    const Layer<Element> expand(random, expanded, test.in, test.with_bias);
    const Layer<Element> depthwise(random, expanded, 9, test.with_bias);
    const Layer<Element> project(random, test.out, expanded, test.with_bias);
    InvertedResidualShape block_shape;
    block_shape.in = test.in;
    block_shape.expanded = expanded;
    block_shape.out = test.out;
    InvertedResidualWeights weights;
    weights.expand = {expand.weight.data(), expand.BiasOrNull()};
    weights.depthwise = {depthwise.weight.data(), depthwise.BiasOrNull()};
    weights.project = {project.weight.data(), project.BiasOrNull()};
    CheckPacking<Element>(
        table.inverted_residual_packing, block_shape, weights,
        DeviceInvertedResidualWeights{expand.Device(), depthwise.Device(), project.Device()});
  }
}

TEST(cuda_packing, f16) { CheckLayers<Half>(); }
TEST(cuda_packing, bf16) { CheckLayers<Bf16>(); }
TEST(cuda_packing, f32) { CheckLayers<float>(); }

}  // namespace
}  // namespace mvf_test

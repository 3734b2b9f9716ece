// Nodes that convolve bytes: uint8 maps [N, H, W, C]; weights int8 as onnx has them, [out, in, 3, 3].
#include <stdexcept>
#include <vector>

#include "engine/pack.h"
#include "kernels/dispatch.h"
#include "onnxruntime/int8_layer.h"
#include "onnxruntime/maps.h"
#include "onnxruntime/node_kernel.h"
#include "onnxruntime/run_items.h"

namespace mvf::ort {
namespace {

Int8Conv3x3Weights ConvolutionWeights(const Int8Layer& layer, const std::vector<int8_t>& moved) {
  return {{moved.data(), layer.bias}, layer.requantization};
}

class Int8Conv3x3 : public NodeKernel {
 public:
  // `inputs` maps side by side.
  Int8Conv3x3(const NodeInfo& info, int inputs)
      : kernels_(*BestTable(Precision::kInt8).int8), threads_(info.threads()), inputs_(inputs) {
    const Int8Layer layer = ReadLayer(info, static_cast<size_t>(inputs), {kAny, kAny, 3, 3}, true);
    const int64_t in = layer.weight.dims[1];
    if (inputs == 2 && in % 2 != 0)
      throw std::invalid_argument(
          "two inputs must have equally many channels; the weight takes an odd number of them");
    shape_.out = layer.out();
    shape_.in = in / inputs;
    shape_.in_second = in - shape_.in;
    shape_.stride = ReadStride(info);
    shape_.input_zero = ReadZero(info, "input_zero");
    if (inputs == 2) shape_.second_zero = ReadZero(info, "second_zero");
    const std::vector<int8_t> moved = ChannelsLast(layer.weight.data, shape_.out, in);
    packed_ = Pack(kernels_.conv3x3_packing, shape_, ConvolutionWeights(layer, moved));
  }

  void Compute(const NodeCall& call) override {
    const MapsOf<uint8_t> x = ReadMaps<uint8_t>(call, 0, shape_.in);
    MapsOf<uint8_t> second;
    if (inputs_ == 2) second = ReadSecond(call, x, shape_.in_second);
    const MapsOf<uint8_t> output =
        MakeMaps<uint8_t>(call, x.count, x.height, x.width, shape_.stride, shape_.out);
    RunItems(call, kernels_.conv3x3, output.items(), threads_, [&](int64_t n) {
      Int8Conv3x3Args args;
      args.shape = shape_;
      args.packed = packed_.data();
      args.input = x.At(n);
      if (inputs_ == 2) args.second = second.At(n);
      args.output = output.At(n);
      return args;
    });
  }

 private:
  const Int8Kernels& kernels_;
  const int threads_;
  const int inputs_;
  Int8Conv3x3Shape shape_;
  AlignedBuffer packed_;
};

// The same on images, float32 [N, C, H, W], which become bytes on the way.
class Int8PlanarConv3x3 : public NodeKernel {
 public:
  explicit Int8PlanarConv3x3(const NodeInfo& info)
      : kernels_(*BestTable(Precision::kInt8).int8), threads_(info.threads()) {
    const Int8Layer layer = ReadLayer(info, 1, {kAny, kAny, 3, 3}, true);
    shape_.out = layer.out();
    shape_.in = layer.weight.dims[1];
    shape_.stride = ReadStride(info);
    shape_.input_scale = ReadPositive(info, "input_scale");
    shape_.input_zero = ReadZero(info, "input_zero");
    const std::vector<int8_t> moved = ChannelsLast(layer.weight.data, shape_.out, shape_.in);
    packed_ = Pack(kernels_.stem_packing, shape_, ConvolutionWeights(layer, moved));
  }

  void Compute(const NodeCall& call) override {
    const Images images = ReadImages(call, shape_.in);
    const MapsOf<uint8_t> output =
        MakeMaps<uint8_t>(call, images.count, images.height, images.width, shape_.stride, shape_.out);
    RunItems(call, kernels_.stem, output.items(), threads_, [&](int64_t n) {
      return Int8StemArgs{shape_, packed_.data(), images.At(n), output.At(n)};
    });
  }

 private:
  const Int8Kernels& kernels_;
  const int threads_;
  Int8Conv3x3Shape shape_;
  AlignedBuffer packed_;
};

class Int8InvertedResidual : public NodeKernel {
 public:
  Int8InvertedResidual(const NodeInfo& info, bool adds)
      : kernels_(*BestTable(Precision::kInt8).int8), threads_(info.threads()) {
    const Int8Layer expand = ReadLayer(info, 1, {kAny, kAny, 1, 1}, true);
    shape_.expanded = expand.out();
    shape_.in = expand.weight.dims[1];
    const Int8Layer depthwise = ReadLayer(info, 1 + kLayerInputs, {shape_.expanded, 1, 3, 3}, true);
    const Int8Layer project =
        ReadLayer(info, 1 + 2 * kLayerInputs, {adds ? shape_.in : kAny, shape_.expanded, 1, 1}, false);
    shape_.out = project.out();
    shape_.stride = ReadStride(info);
    shape_.residual = adds;
    if (adds && shape_.stride != 1) throw std::invalid_argument("a residual needs strides of [1, 1]");
    if (adds) shape_.residual_multiplier = ReadPositive(info, "residual_multiplier");
    shape_.input_zero = ReadZero(info, "input_zero");
    shape_.expanded_zero = ReadZero(info, "expanded_zero");
    shape_.depthwise_zero = ReadZero(info, "depthwise_zero");
    const std::vector<int8_t> taps = TapsFirst(depthwise.weight.data, shape_.expanded);
    packed_ = Pack(kernels_.inverted_residual_packing, shape_,
                   {{expand.weight.data, expand.bias},
                    expand.requantization,
                    {taps.data(), depthwise.bias},
                    depthwise.requantization,
                    {project.weight.data, project.bias},
                    project.requantization});
  }

  void Compute(const NodeCall& call) override {
    const MapsOf<uint8_t> x = ReadMaps<uint8_t>(call, 0, shape_.in);
    const MapsOf<uint8_t> output =
        MakeMaps<uint8_t>(call, x.count, x.height, x.width, shape_.stride, shape_.out);
    RunItems(call, kernels_.inverted_residual, output.items(), threads_, [&](int64_t n) {
      return Int8InvertedResidualArgs{shape_, packed_.data(), x.At(n), output.At(n)};
    });
  }

 private:
  const Int8Kernels& kernels_;
  const int threads_;
  Int8InvertedResidualShape shape_;
  AlignedBuffer packed_;
};

std::vector<ONNXTensorElementDataType> WithLayers(std::vector<ONNXTensorElementDataType> inputs,
                                                  int with_table, int without_table) {
  for (int i = 0; i < with_table + without_table; ++i) {
    inputs.insert(inputs.end(), {kTypeOf<int8_t>, kTypeOf<int32_t>, kTypeOf<float>, kTypeOf<float>});
    if (i < with_table) inputs.push_back(kTypeOf<uint8_t>);
  }
  return inputs;
}

}  // namespace

std::vector<NodeType> Int8ConvolutionNodes() {
  constexpr ONNXTensorElementDataType kBytes = kTypeOf<uint8_t>;
  const std::vector<ONNXTensorElementDataType> residual = WithLayers({kBytes}, 2, 1);
  return {
      {"Int8Conv3x3", WithLayers({kBytes}, 1, 0), kBytes, Make<Int8Conv3x3, 1>},
      {"Int8JoinedConv3x3", WithLayers({kBytes, kBytes}, 1, 0), kBytes, Make<Int8Conv3x3, 2>},
      {"Int8PlanarConv3x3", WithLayers({kTypeOf<float>}, 1, 0), kBytes, Make<Int8PlanarConv3x3>},
      {"Int8InvertedResidual", residual, kBytes, Make<Int8InvertedResidual, false>},
      {"Int8InvertedResidualAdd", residual, kBytes, Make<Int8InvertedResidual, true>},
  };
}

}  // namespace mvf::ort

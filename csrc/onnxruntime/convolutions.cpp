// Nodes that convolve: float32 maps [N, H, W, C]; weights as onnx has them, [out, in, 3, 3].
#include <algorithm>
#include <array>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "engine/pack.h"
#include "kernels/dispatch.h"
#include "onnxruntime/maps.h"
#include "onnxruntime/node_kernel.h"
#include "onnxruntime/run_items.h"

namespace mvf::ort {
namespace {

constexpr ONNXTensorElementDataType kFloat = kTypeOf<float>;

// Winograd's larger tile saves more multiplications, but a small map leaves its tiles partly empty.
ConvAlgorithm AlgorithmFor(int64_t stride, int64_t height, int64_t width) {
  const int64_t size = std::min(height, width);
  if (stride != 1 || size < 3) return ConvAlgorithm::kDirect;
  return size < 12 ? ConvAlgorithm::kWinograd2 : ConvAlgorithm::kWinograd4;
}

class Conv3x3 : public NodeKernel {
 public:
  // `inputs` maps side by side.
  Conv3x3(const NodeInfo& info, Activation activation, int inputs)
      : table_(BestTable()), threads_(info.threads()), inputs_(inputs) {
    const size_t first_weight = static_cast<size_t>(inputs);
    const Tensor<float> weight = info.Weight<float>(first_weight, {kAny, kAny, 3, 3});
    const int64_t in = weight.dims[1];
    if (inputs == 2 && in % 2 != 0)
      throw std::invalid_argument(
          "two inputs must have equally many channels; the weight takes an odd number of them");
    shape_.out = weight.dims[0];
    shape_.in = in / inputs;
    shape_.in_second = in - shape_.in;
    shape_.stride = ReadStride(info);
    shape_.activation = activation;
    const Tensor<float> bias = info.Weight<float>(first_weight + 1, {shape_.out});
    weight_ = ChannelsLast(weight.data, shape_.out, in);
    bias_.assign(bias.data, bias.data + shape_.out);
  }

  void Compute(const NodeCall& call) override {
    const MapsOf<float> x = ReadMaps<float>(call, 0, shape_.in);
    MapsOf<float> second;
    if (inputs_ == 2) second = ReadSecond(call, x, shape_.in_second);
    const MapsOf<float> output = MakeMaps<float>(call, x.count, x.height, x.width, shape_.stride, shape_.out);
    Conv3x3Args args;
    args.shape = shape_;
    args.shape.algorithm = AlgorithmFor(shape_.stride, x.height, x.width);
    args.packed = PackedFor(args.shape);
    RunItems(call, table_.conv3x3, output.items(), threads_, [&](int64_t n) {
      Conv3x3Args own = args;
      own.input = x.At(n);
      if (inputs_ == 2) own.second = second.At(n);
      own.output = output.At(n);
      return own;
    });
  }

 private:
  // Which algorithm is best shows with the first map of a size; its weights are packed then.
  const void* PackedFor(const Conv3x3Shape& shape) {
    const std::lock_guard<std::mutex> lock(mutex_);
    AlignedBuffer& packed = packed_[static_cast<size_t>(shape.algorithm)];
    if (packed.size() == 0) packed = Pack(table_.conv3x3_packing, shape, {weight_.data(), bias_.data()});
    return packed.data();
  }

  const KernelTable& table_;
  const int threads_;
  const int inputs_;
  Conv3x3Shape shape_;
  std::vector<float> weight_, bias_;
  std::mutex mutex_;
  std::array<AlignedBuffer, 3> packed_;
};

// The same on images [N, C, H, W].
class PlanarConv3x3 : public NodeKernel {
 public:
  explicit PlanarConv3x3(const NodeInfo& info) : table_(BestTable()), threads_(info.threads()) {
    const Tensor<float> weight = info.Weight<float>(1, {kAny, kAny, 3, 3});
    shape_.out = weight.dims[0];
    shape_.in = weight.dims[1];
    shape_.stride = ReadStride(info);
    shape_.activation = Activation::kSilu;
    const Tensor<float> bias = info.Weight<float>(2, {shape_.out});
    packed_ = Pack(table_.stem_packing, shape_,
                   {ChannelsLast(weight.data, shape_.out, shape_.in).data(), bias.data});
  }

  void Compute(const NodeCall& call) override {
    const Images images = ReadImages(call, shape_.in);
    const MapsOf<float> output =
        MakeMaps<float>(call, images.count, images.height, images.width, shape_.stride, shape_.out);
    RunItems(call, table_.stem, output.items(), threads_, [&](int64_t n) {
      return StemArgs{shape_, packed_.data(), images.At(n), output.At(n)};
    });
  }

 private:
  const KernelTable& table_;
  const int threads_;
  Conv3x3Shape shape_;
  AlignedBuffer packed_;
};

class DwConv3x3 : public NodeKernel {
 public:
  DwConv3x3(const NodeInfo& info, Activation activation) : table_(BestTable()), threads_(info.threads()) {
    const Tensor<float> weight = info.Weight<float>(1, {kAny, 1, 3, 3});
    shape_.channels = weight.dims[0];
    shape_.stride = ReadStride(info);
    shape_.activation = activation;
    const Tensor<float> bias = info.Weight<float>(2, {shape_.channels});
    packed_ =
        Pack(table_.dwconv3x3_packing, shape_, {TapsFirst(weight.data, shape_.channels).data(), bias.data});
  }

  void Compute(const NodeCall& call) override {
    const MapsOf<float> x = ReadMaps<float>(call, 0, shape_.channels);
    const MapsOf<float> output =
        MakeMaps<float>(call, x.count, x.height, x.width, shape_.stride, shape_.channels);
    RunItems(call, table_.dwconv3x3, output.items(), threads_, [&](int64_t n) {
      return DwConv3x3Args{shape_, packed_.data(), x.At(n), output.At(n)};
    });
  }

 private:
  const KernelTable& table_;
  const int threads_;
  DwConv3x3Shape shape_;
  AlignedBuffer packed_;
};

class InvertedResidual : public NodeKernel {
 public:
  InvertedResidual(const NodeInfo& info, bool adds) : table_(BestTable()), threads_(info.threads()) {
    const Tensor<float> expand = info.Weight<float>(1, {kAny, kAny, 1, 1});
    shape_.expanded = expand.dims[0];
    shape_.in = expand.dims[1];
    const Tensor<float> expand_bias = info.Weight<float>(2, {shape_.expanded});
    const Tensor<float> depthwise = info.Weight<float>(3, {shape_.expanded, 1, 3, 3});
    const Tensor<float> depthwise_bias = info.Weight<float>(4, {shape_.expanded});
    const Tensor<float> project = info.Weight<float>(5, {adds ? shape_.in : kAny, shape_.expanded, 1, 1});
    shape_.out = project.dims[0];
    const Tensor<float> project_bias = info.Weight<float>(6, {shape_.out});
    shape_.stride = ReadStride(info);
    shape_.residual = adds;
    if (adds && shape_.stride != 1) throw std::invalid_argument("a residual needs strides of [1, 1]");
    packed_ = Pack(table_.inverted_residual_packing, shape_,
                   {{expand.data, expand_bias.data},
                    {TapsFirst(depthwise.data, shape_.expanded).data(), depthwise_bias.data},
                    {project.data, project_bias.data}});
  }

  void Compute(const NodeCall& call) override {
    const MapsOf<float> x = ReadMaps<float>(call, 0, shape_.in);
    const MapsOf<float> output = MakeMaps<float>(call, x.count, x.height, x.width, shape_.stride, shape_.out);
    RunItems(call, table_.inverted_residual, output.items(), threads_, [&](int64_t n) {
      return InvertedResidualArgs{shape_, packed_.data(), x.At(n), output.At(n)};
    });
  }

 private:
  const KernelTable& table_;
  const int threads_;
  InvertedResidualShape shape_;
  AlignedBuffer packed_;
};

}  // namespace

std::vector<NodeType> ConvolutionNodes() {
  constexpr Activation kNone = Activation::kNone, kSilu = Activation::kSilu;
  const std::vector<ONNXTensorElementDataType> three(3, kFloat), four(4, kFloat), seven(7, kFloat);
  return {
      {"Conv3x3", three, kFloat, Make<Conv3x3, kNone, 1>},
      {"Conv3x3Silu", three, kFloat, Make<Conv3x3, kSilu, 1>},
      {"JoinedConv3x3Silu", four, kFloat, Make<Conv3x3, kSilu, 2>},
      {"PlanarConv3x3Silu", three, kFloat, Make<PlanarConv3x3>},
      {"DwConv3x3", three, kFloat, Make<DwConv3x3, kNone>},
      {"DwConv3x3Silu", three, kFloat, Make<DwConv3x3, kSilu>},
      {"InvertedResidual", seven, kFloat, Make<InvertedResidual, false>},
      {"InvertedResidualAdd", seven, kFloat, Make<InvertedResidual, true>},
  };
}

}  // namespace mvf::ort

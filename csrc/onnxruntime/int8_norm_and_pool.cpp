// Where floats become bytes and bytes floats: a layer norm, and the mean over the pixels of a map.
#include "kernels/dispatch.h"
#include "onnxruntime/int8_layer.h"
#include "onnxruntime/maps.h"
#include "onnxruntime/node_kernel.h"
#include "onnxruntime/rows.h"
#include "onnxruntime/run_items.h"

namespace mvf::ort {
namespace {

class Int8LayerNorm : public NodeKernel {
 public:
  explicit Int8LayerNorm(const NodeInfo& info)
      : kernels_(*BestTable(Precision::kInt8).int8), threads_(info.threads()) {
    const Tensor<float> gamma = info.Weight<float>(1, {kAny});
    const Tensor<float> beta = info.Weight<float>(2, gamma.dims);
    gamma_.assign(gamma.data, gamma.data + gamma.dims[0]);
    beta_.assign(beta.data, beta.data + gamma.dims[0]);
    like_.norm.channels = gamma.dims[0];
    like_.norm.epsilon = info.Epsilon();
    like_.scale = ReadPositive(info, "scale");
    like_.zero = ReadZero(info, "zero");
  }

  void Compute(const NodeCall& call) override {
    const Tensor<float> x = call.Input<float>(0);
    Int8LayerNormArgs args = like_;
    args.norm.rows = RowsOf(0, x.dims, args.norm.channels);
    args.norm.input = x.data;
    args.norm.input_stride = args.norm.output_stride = args.norm.channels;
    args.norm.gamma = gamma_.data();
    args.norm.beta = beta_.data();
    args.norm.output = call.Output<uint8_t>(x.dims);
    if (args.norm.rows > 0) RunItems(call, kernels_.layer_norm, 1, threads_, [&](int64_t) { return args; });
  }

 private:
  const Int8Kernels& kernels_;
  const int threads_;
  std::vector<float> gamma_, beta_;
  Int8LayerNormArgs like_;
};

class Int8GlobalPool : public NodeKernel {
 public:
  explicit Int8GlobalPool(const NodeInfo& info)
      : kernels_(*BestTable(Precision::kInt8).int8), threads_(info.threads()) {
    like_.scale = ReadPositive(info, "scale");
    like_.zero = ReadZero(info, "zero");
  }

  void Compute(const NodeCall& call) override {
    const MapsOf<uint8_t> x = ReadMaps<uint8_t>(call, 0, kAny);
    if (x.count > 0 && x.height * x.width * x.channels == 0) {
      throw std::invalid_argument("input 0 must have pixels and channels");
    }
    float* output = call.Output<float>({x.count, x.channels});
    RunItems(call, kernels_.global_pool, x.items(), threads_, [&](int64_t n) {
      Int8GlobalPoolArgs args = like_;
      args.input = x.At(n);
      args.output = output + n * x.channels;
      return args;
    });
  }

 private:
  const Int8Kernels& kernels_;
  const int threads_;
  Int8GlobalPoolArgs like_;
};

}  // namespace

std::vector<NodeType> Int8NormAndPoolNodes() {
  constexpr ONNXTensorElementDataType kFloat = kTypeOf<float>, kBytes = kTypeOf<uint8_t>;
  return {
      {"Int8LayerNorm", {kFloat, kFloat, kFloat}, kBytes, Make<Int8LayerNorm>},
      {"Int8GlobalPool", {kBytes}, kFloat, Make<Int8GlobalPool>},
  };
}

}  // namespace mvf::ort

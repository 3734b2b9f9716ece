// Nodes on rows, float32 [..., C].
#include "onnxruntime/rows.h"

#include <algorithm>
#include <stdexcept>

#include "engine/pack.h"
#include "kernels/dispatch.h"
#include "onnxruntime/node_kernel.h"
#include "onnxruntime/run_items.h"

namespace mvf::ort {
namespace {

constexpr ONNXTensorElementDataType kFloat = kTypeOf<float>;

// silu(x @ weight.T + bias) + residual, of normalised rows or of rows as they are.
class Linear : public NodeKernel {
 public:
  Linear(const NodeInfo& info, Activation activation, bool adds, bool normalizes)
      : table_(BestTable()), threads_(info.threads()), adds_(adds) {
    const Tensor<float> weight = info.Weight<float>(1, {kAny, kAny});
    shape_.out = weight.dims[0];
    shape_.in = weight.dims[1];
    shape_.activation = activation;
    shape_.normalize = normalizes;
    if (normalizes) shape_.epsilon = info.Epsilon();
    const Tensor<float> bias = info.Weight<float>(2, {shape_.out});
    packed_ = Pack(table_.linear_packing, shape_, {weight.data, bias.data});
  }

  void Compute(const NodeCall& call) override {
    const Tensor<float> x = call.Input<float>(0);
    LinearArgs args;
    args.shape = shape_;
    args.packed = packed_.data();
    args.rows = RowsOf(0, x.dims, shape_.in);
    args.input = x.data;
    args.input_stride = shape_.in;
    Dims dims = x.dims;
    dims.back() = shape_.out;
    if (adds_) {
      const Tensor<float> residual = call.Input<float>(3);
      RequireDims(3, residual.dims, dims);
      args.residual = residual.data;
      args.residual_stride = shape_.out;
    }
    args.output = call.Output<float>(dims);
    args.output_stride = shape_.out;
    args.float_output = true;
    if (args.rows > 0) RunItems(call, table_.linear, 1, threads_, [&](int64_t) { return args; });
  }

 private:
  const KernelTable& table_;
  const int threads_;
  const bool adds_;
  LinearShape shape_;
  AlignedBuffer packed_;
};

// x + down * silu(up * normalize(x) + up_bias) + down_bias
class Ffn : public NodeKernel {
 public:
  explicit Ffn(const NodeInfo& info) : table_(BestTable()), threads_(info.threads()) {
    const Tensor<float> up = info.Weight<float>(1, {kAny, kAny});
    shape_.hidden = up.dims[0];
    shape_.dim = up.dims[1];
    shape_.epsilon = info.Epsilon();
    const Tensor<float> up_bias = info.Weight<float>(2, {shape_.hidden});
    const Tensor<float> down = info.Weight<float>(3, {shape_.dim, shape_.hidden});
    const Tensor<float> down_bias = info.Weight<float>(4, {shape_.dim});
    packed_ = Pack(table_.ffn_packing, shape_, {{up.data, up_bias.data}, {down.data, down_bias.data}});
  }

  void Compute(const NodeCall& call) override {
    const Tensor<float> x = call.Input<float>(0);
    FfnArgs args;
    args.shape = shape_;
    args.packed = packed_.data();
    args.rows = RowsOf(0, x.dims, shape_.dim);
    args.stream = call.Output<float>(x.dims);
    args.stream_stride = shape_.dim;
    // The kernel works in place.
    std::copy_n(x.data, args.rows * shape_.dim, args.stream);
    if (args.rows > 0) RunItems(call, table_.ffn, 1, threads_, [&](int64_t) { return args; });
  }

 private:
  const KernelTable& table_;
  const int threads_;
  FfnShape shape_;
  AlignedBuffer packed_;
};

}  // namespace

std::vector<NodeType> RowNodes() {
  constexpr Activation kNone = Activation::kNone, kSilu = Activation::kSilu;
  const std::vector<ONNXTensorElementDataType> three(3, kFloat), four(4, kFloat), five(5, kFloat);
  return {
      {"Linear", three, kFloat, Make<Linear, kNone, false, false>},
      {"LinearSilu", three, kFloat, Make<Linear, kSilu, false, false>},
      {"LinearAdd", four, kFloat, Make<Linear, kNone, true, false>},
      {"LinearSiluAdd", four, kFloat, Make<Linear, kSilu, true, false>},
      {"NormalizedLinear", three, kFloat, Make<Linear, kNone, false, true>},
      {"Ffn", five, kFloat, Make<Ffn>},
  };
}

}  // namespace mvf::ort

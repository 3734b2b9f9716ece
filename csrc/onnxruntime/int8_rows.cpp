// Nodes on rows [..., C] of bytes, or of floats that become bytes on the way; and attention on bytes.
#include <algorithm>
#include <stdexcept>

#include "engine/pack.h"
#include "kernels/dispatch.h"
#include "onnxruntime/int8_layer.h"
#include "onnxruntime/node_kernel.h"
#include "onnxruntime/rows.h"
#include "onnxruntime/run_items.h"

namespace mvf::ort {
namespace {

// What a linear's rows are, and what it makes of them.
enum class Int8LinearKind {
  kBytes,       // bytes to bytes, by a table
  kNormalized,  // floats, normalised and made bytes on the way, to bytes
  kFloat,       // bytes to floats
  kFloatAdd,    // bytes to floats, and a residual is added
  kQuantized,   // floats, made bytes on the way, to floats
};

class Int8Linear : public NodeKernel {
 public:
  Int8Linear(const NodeInfo& info, Int8LinearKind kind)
      : kernels_(*BestTable(Precision::kInt8).int8), threads_(info.threads()), kind_(kind) {
    const Int8Layer layer = ReadLayer(info, 1, {kAny, kAny}, kind == Int8LinearKind::kBytes);
    shape_.out = layer.out();
    shape_.in = layer.weight.dims[1];
    shape_.input_zero = ReadZero(info, "input_zero");
    shape_.float_output = kind != Int8LinearKind::kBytes && kind != Int8LinearKind::kNormalized;
    if (TakesFloats()) {
      shape_.input = Int8Input::kStatic;
      shape_.input_scale = ReadPositive(info, "input_scale");
    }
    if (kind == Int8LinearKind::kNormalized) {
      shape_.normalize = true;
      shape_.epsilon = info.Epsilon();
    }
    packed_ = Pack(kernels_.linear_packing, shape_,
                   {{layer.weight.data, layer.bias}, layer.requantization, Activation::kNone});
  }

  void Compute(const NodeCall& call) override {
    Int8LinearArgs args;
    args.shape = shape_;
    args.packed = packed_.data();
    Dims dims = TakesFloats() ? ReadInput<float>(call, &args) : ReadInput<uint8_t>(call, &args);
    dims.back() = shape_.out;
    if (kind_ == Int8LinearKind::kFloatAdd) {
      const Tensor<float> residual = call.Input<float>(1 + kLayerInputsWithoutTable);
      RequireDims(1 + kLayerInputsWithoutTable, residual.dims, dims);
      args.residual = residual.data;
      args.residual_stride = shape_.out;
    }
    args.output =
        shape_.float_output ? static_cast<void*>(call.Output<float>(dims)) : call.Output<uint8_t>(dims);
    args.output_stride = shape_.out;
    if (args.rows > 0) RunItems(call, kernels_.linear, 1, threads_, [&](int64_t) { return args; });
  }

 private:
  bool TakesFloats() const {
    return kind_ == Int8LinearKind::kNormalized || kind_ == Int8LinearKind::kQuantized;
  }

  template <class Element>
  Dims ReadInput(const NodeCall& call, Int8LinearArgs* args) const {
    const Tensor<Element> x = call.Input<Element>(0);
    args->rows = RowsOf(0, x.dims, shape_.in);
    args->input = x.data;
    args->input_stride = shape_.in;
    return x.dims;
  }

  const Int8Kernels& kernels_;
  const int threads_;
  const Int8LinearKind kind_;
  Int8LinearShape shape_;
  AlignedBuffer packed_;
};

// x + down(table(up(bytes of normalize(x))))
class Int8Ffn : public NodeKernel {
 public:
  explicit Int8Ffn(const NodeInfo& info)
      : kernels_(*BestTable(Precision::kInt8).int8), threads_(info.threads()) {
    const Int8Layer up = ReadLayer(info, 1, {kAny, kAny}, true);
    shape_.hidden = up.out();
    shape_.dim = up.weight.dims[1];
    const Tensor<int8_t> down = ReadIntegerWeight(info, 1 + kLayerInputs, {shape_.dim, shape_.hidden});
    const Tensor<int32_t> down_bias = info.Weight<int32_t>(2 + kLayerInputs, {shape_.dim});
    const Tensor<float> down_multiplier = info.Weight<float>(3 + kLayerInputs, {shape_.dim});
    shape_.input_scale = ReadPositive(info, "input_scale");
    shape_.input_zero = ReadZero(info, "input_zero");
    shape_.hidden_zero = ReadZero(info, "hidden_zero");
    shape_.epsilon = info.Epsilon();
    packed_ = Pack(
        kernels_.ffn_packing, shape_,
        {{up.weight.data, up.bias}, up.requantization, {down.data, down_bias.data}, down_multiplier.data});
  }

  void Compute(const NodeCall& call) override {
    const Tensor<float> x = call.Input<float>(0);
    Int8FfnArgs args;
    args.shape = shape_;
    args.packed = packed_.data();
    args.rows = RowsOf(0, x.dims, shape_.dim);
    args.stream = call.Output<float>(x.dims);
    args.stream_stride = shape_.dim;
    std::copy_n(x.data, args.rows * shape_.dim, args.stream);
    if (args.rows > 0) RunItems(call, kernels_.ffn, 1, threads_, [&](int64_t) { return args; });
  }

 private:
  const Int8Kernels& kernels_;
  const int threads_;
  Int8FfnShape shape_;
  AlignedBuffer packed_;
};

}  // namespace

std::vector<NodeType> Int8RowNodes() {
  constexpr ONNXTensorElementDataType kFloat = kTypeOf<float>, kBytes = kTypeOf<uint8_t>,
                                      kWeights = kTypeOf<int8_t>, kSums = kTypeOf<int32_t>;
  using Kind = Int8LinearKind;
  return {
      {"Int8Linear",
       {kBytes, kWeights, kSums, kFloat, kFloat, kBytes},
       kBytes,
       Make<Int8Linear, Kind::kBytes>},
      {"Int8NormalizedLinear",
       {kFloat, kWeights, kSums, kFloat, kFloat},
       kBytes,
       Make<Int8Linear, Kind::kNormalized>},
      {"Int8LinearFloat", {kBytes, kWeights, kSums, kFloat, kFloat}, kFloat, Make<Int8Linear, Kind::kFloat>},
      {"Int8LinearFloatAdd",
       {kBytes, kWeights, kSums, kFloat, kFloat, kFloat},
       kFloat,
       Make<Int8Linear, Kind::kFloatAdd>},
      {"Int8QuantizedLinear",
       {kFloat, kWeights, kSums, kFloat, kFloat},
       kFloat,
       Make<Int8Linear, Kind::kQuantized>},
      {"Int8Ffn",
       {kFloat, kWeights, kSums, kFloat, kFloat, kBytes, kWeights, kSums, kFloat},
       kFloat,
       Make<Int8Ffn>},
  };
}

}  // namespace mvf::ort

// Multi-head attention over maps [N, H, W, 3 * dim] of floats or bytes.
#include <stdexcept>

#include "kernels/dispatch.h"
#include "onnxruntime/int8_layer.h"
#include "onnxruntime/maps.h"
#include "onnxruntime/node_kernel.h"
#include "onnxruntime/run_items.h"

namespace mvf::ort {
namespace {

// Reads what both have in common, and fills it into the arguments of each map.
class AttentionShape {
 public:
  explicit AttentionShape(const NodeInfo& info) : heads_(info.Int("heads")), patch_(info.Ints("patch")) {
    if (heads_ < 1 || patch_.size() != 2 || patch_[0] < 1 || patch_[1] < 1) {
      throw std::invalid_argument("heads and patch must be positive, and patch two numbers");
    }
  }

  template <class Element, class Args>
  void Run(const NodeCall& call, const Kernel<Args>& kernel, int threads, const Args& like,
           int64_t most_tokens = INT64_MAX, int64_t most_channels = INT64_MAX) const {
    const Tensor<Element> qkv = call.Input<Element>(0);
    RequireDims(0, qkv.dims, {kAny, kAny, kAny, kAny});
    const int64_t count = qkv.dims[0], height = qkv.dims[1], width = qkv.dims[2], channels = qkv.dims[3];
    if (channels == 0 || heads_ > channels || channels % (3 * heads_) != 0 || height % patch_[0] != 0 ||
        width % patch_[1] != 0) {
      throw std::invalid_argument("input 0 must have q, k and v of " + std::to_string(heads_) +
                                  " heads and whole patches of " + std::to_string(patch_[0]) + "x" +
                                  std::to_string(patch_[1]) + ", got " + ToString(qkv.dims));
    }
    const int64_t dim = channels / 3;
    if (height / patch_[0] * (width / patch_[1]) > most_tokens || dim / heads_ > most_channels) {
      throw std::invalid_argument("input 0 may have at most " + std::to_string(most_tokens) +
                                  " tokens at each position of a patch and " + std::to_string(most_channels) +
                                  " channels in a head, so that 32 bits hold their sums; got " +
                                  ToString(qkv.dims));
    }
    const MapsOf<Element> input{qkv.data, count, height, width, channels};
    const MapsOf<Element> output{call.Output<Element>({count, height, width, dim}), count, height, width,
                                 dim};
    RunItems(call, kernel, output.items(), threads, [&](int64_t n) {
      Args args = like;
      args.qkv = input.At(n);
      args.output = output.At(n);
      args.heads = heads_;
      args.patch_height = patch_[0];
      args.patch_width = patch_[1];
      return args;
    });
  }

 private:
  const int64_t heads_;
  const Dims patch_;
};

class Attention : public NodeKernel {
 public:
  explicit Attention(const NodeInfo& info) : table_(BestTable()), threads_(info.threads()), shape_(info) {}

  void Compute(const NodeCall& call) override {
    shape_.Run<float>(call, table_.attention, threads_, AttentionArgs{});
  }

 private:
  const KernelTable& table_;
  const int threads_;
  const AttentionShape shape_;
};

class Int8Attention : public NodeKernel {
 public:
  explicit Int8Attention(const NodeInfo& info)
      : kernels_(*BestTable(Precision::kInt8).int8), threads_(info.threads()), shape_(info) {
    like_.score_scale = ReadPositive(info, "score_scale");
    like_.output_multiplier = ReadPositive(info, "output_multiplier");
    like_.output_zero = ReadZero(info, "output_zero");
  }

  void Compute(const NodeCall& call) override {
    shape_.Run<uint8_t>(call, kernels_.attention, threads_, like_, kMaxInt8Tokens, kMaxInt8Inputs);
  }

 private:
  const Int8Kernels& kernels_;
  const int threads_;
  const AttentionShape shape_;
  Int8AttentionArgs like_;
};

}  // namespace

std::vector<NodeType> AttentionNodes() {
  return {
      {"Attention", {kTypeOf<float>}, kTypeOf<float>, Make<Attention>},
      {"Int8Attention", {kTypeOf<uint8_t>}, kTypeOf<uint8_t>, Make<Int8Attention>},
  };
}

}  // namespace mvf::ort

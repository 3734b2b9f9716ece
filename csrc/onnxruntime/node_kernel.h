// What each of our operations is to onnxruntime: a name, types, and something that makes its kernel.
#pragma once

#include <memory>
#include <vector>

#include "onnxruntime/node.h"

namespace mvf::ort {

// One node of a session, with its weights packed. Compute is called from several threads at once.
class NodeKernel {
 public:
  virtual ~NodeKernel() = default;
  virtual void Compute(const NodeCall& call) = 0;
};

struct NodeType {
  const char* name;
  std::vector<ONNXTensorElementDataType> inputs;
  ONNXTensorElementDataType output;
  std::unique_ptr<NodeKernel> (*make)(const NodeInfo& info);
};

template <class Made, auto... options>
std::unique_ptr<NodeKernel> Make(const NodeInfo& info) {
  return std::make_unique<Made>(info, options...);
}

// All of them, by subject.
std::vector<NodeType> ConvolutionNodes();
std::vector<NodeType> RowNodes();
std::vector<NodeType> AttentionNodes();
std::vector<NodeType> Int8ConvolutionNodes();
std::vector<NodeType> Int8RowNodes();
std::vector<NodeType> Int8NormAndPoolNodes();

}  // namespace mvf::ort

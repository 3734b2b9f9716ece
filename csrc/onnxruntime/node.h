// A node of onnxruntime's graph as our kernels see it: its attributes and weights when the session is made,
// its tensors when it runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "onnxruntime_c_api.h"

namespace mvf::ort {

using Dims = std::vector<int64_t>;

std::string ToString(const Dims& dims);
int64_t CountOf(const Dims& dims);

template <class Element>
constexpr ONNXTensorElementDataType kTypeOf = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
template <>
inline constexpr ONNXTensorElementDataType kTypeOf<float> = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
template <>
inline constexpr ONNXTensorElementDataType kTypeOf<uint8_t> = ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
template <>
inline constexpr ONNXTensorElementDataType kTypeOf<int8_t> = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
template <>
inline constexpr ONNXTensorElementDataType kTypeOf<int32_t> = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;

// A dense tensor of onnxruntime's.
template <class Element>
struct Tensor {
  const Element* data = nullptr;
  Dims dims;
};

// Throws std::runtime_error with what onnxruntime says, where it says anything.
void Check(const OrtApi& api, OrtStatus* status);

// A node whose kernel is being made.
class NodeInfo {
 public:
  NodeInfo(const OrtApi& api, const OrtKernelInfo* info, int threads)
      : api_(api), info_(info), threads_(threads) {}

  int threads() const { return threads_; }

  // Throw std::runtime_error where there is no such attribute.
  int64_t Int(const char* name) const;
  float Float(const char* name) const;
  Dims Ints(const char* name) const;
  // The attribute of that name. Throws std::invalid_argument where it is negative or not finite.
  float Epsilon() const;

  // A weight of the file's. Throws std::invalid_argument where it is computed, empty, of another type, or not
  // of the shape `expected`, in which kAny fits any size.
  template <class Element>
  Tensor<Element> Weight(size_t input, const Dims& expected) const {
    Tensor<Element> weight;
    weight.data = static_cast<const Element*>(ConstantData(input, kTypeOf<Element>, expected, &weight.dims));
    return weight;
  }

 private:
  const void* ConstantData(size_t input, ONNXTensorElementDataType type, const Dims& expected,
                           Dims* dims) const;

  const OrtApi& api_;
  const OrtKernelInfo* info_;
  int threads_;
};

constexpr int64_t kAny = -1;

// Throws std::invalid_argument, naming input `input`, where `dims` are not `expected`.
void RequireDims(size_t input, const Dims& dims, const Dims& expected);

// A node that runs.
class NodeCall {
 public:
  NodeCall(const OrtApi& api, OrtKernelContext* context) : api_(api), context_(context) {}

  template <class Element>
  Tensor<Element> Input(size_t input) const {
    Tensor<Element> tensor;
    tensor.data = static_cast<const Element*>(InputData(input, kTypeOf<Element>, &tensor.dims));
    return tensor;
  }

  // The node's answer, of that shape.
  template <class Element>
  Element* Output(const Dims& dims) const {
    return static_cast<Element*>(OutputData(dims));
  }

  // Calls function(user, i) for each i below `count` on the session's own threads. It must not throw.
  void ParallelFor(void (*function)(void* user, size_t i), size_t count, void* user) const;

 private:
  const void* InputData(size_t input, ONNXTensorElementDataType type, Dims* dims) const;
  void* OutputData(const Dims& dims) const;

  const OrtApi& api_;
  OrtKernelContext* context_;
};

}  // namespace mvf::ort

#include "onnxruntime/node.h"

#include <cmath>
#include <stdexcept>

namespace mvf::ort {
namespace {

// Releases what onnxruntime hands out when the scope ends.
class TensorInfo {
 public:
  TensorInfo(const OrtApi& api, const OrtValue* value) : api_(api) {
    Check(api, api.GetTensorTypeAndShape(value, &info_));
  }
  ~TensorInfo() { api_.ReleaseTensorTypeAndShapeInfo(info_); }
  TensorInfo(const TensorInfo&) = delete;
  TensorInfo& operator=(const TensorInfo&) = delete;

  ONNXTensorElementDataType type() const {
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    Check(api_, api_.GetTensorElementType(info_, &type));
    return type;
  }
  Dims dims() const {
    size_t rank = 0;
    Check(api_, api_.GetDimensionsCount(info_, &rank));
    Dims dims(rank);
    Check(api_, api_.GetDimensions(info_, dims.data(), rank));
    return dims;
  }

 private:
  const OrtApi& api_;
  OrtTensorTypeAndShapeInfo* info_ = nullptr;
};

const void* Read(const OrtApi& api, const OrtValue* value, size_t input, ONNXTensorElementDataType type,
                 Dims* dims) {
  const TensorInfo info(api, value);
  if (info.type() != type) {
    throw std::invalid_argument("input " + std::to_string(input) + " has an element type that is not ours");
  }
  *dims = info.dims();
  // Only reading: the interface has no function for that which is as old.
  void* data = nullptr;
  Check(api, api.GetTensorMutableData(const_cast<OrtValue*>(value), &data));
  return data;
}

}  // namespace

std::string ToString(const Dims& dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    text += (i > 0 ? ", " : "") + (dims[i] == kAny ? "any" : std::to_string(dims[i]));
  }
  return text + "]";
}

int64_t CountOf(const Dims& dims) {
  int64_t count = 1;
  for (const int64_t size : dims) count *= size;
  return count;
}

void Check(const OrtApi& api, OrtStatus* status) {
  if (status == nullptr) return;
  const std::string message = api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  throw std::runtime_error(message);
}

void RequireDims(size_t input, const Dims& dims, const Dims& expected) {
  bool fits = dims.size() == expected.size();
  for (size_t i = 0; fits && i < dims.size(); ++i) fits = expected[i] == kAny || dims[i] == expected[i];
  if (!fits) {
    throw std::invalid_argument("input " + std::to_string(input) + " must be of shape " + ToString(expected) +
                                ", got " + ToString(dims));
  }
}

int64_t NodeInfo::Int(const char* name) const {
  int64_t value = 0;
  Check(api_, api_.KernelInfoGetAttribute_int64(info_, name, &value));
  return value;
}

float NodeInfo::Float(const char* name) const {
  float value = 0;
  Check(api_, api_.KernelInfoGetAttribute_float(info_, name, &value));
  return value;
}

float NodeInfo::Epsilon() const {
  const float epsilon = Float("epsilon");
  if (!(epsilon >= 0) || !std::isfinite(epsilon)) {
    throw std::invalid_argument("epsilon must be finite and not negative, got " + std::to_string(epsilon));
  }
  return epsilon;
}

Dims NodeInfo::Ints(const char* name) const {
  size_t count = 0;
  Check(api_, api_.KernelInfoGetAttributeArray_int64(info_, name, nullptr, &count));
  Dims values(count);
  Check(api_, api_.KernelInfoGetAttributeArray_int64(info_, name, values.data(), &count));
  return values;
}

const void* NodeInfo::ConstantData(size_t input, ONNXTensorElementDataType type, const Dims& expected,
                                   Dims* dims) const {
  int is_constant = 0;
  const OrtValue* value = nullptr;
  Check(api_, api_.KernelInfoGetConstantInput_tensor(info_, input, &is_constant, &value));
  if (!is_constant || value == nullptr) {
    throw std::invalid_argument("input " + std::to_string(input) +
                                " is a weight, and must be an initializer of the file");
  }
  const void* data = Read(api_, value, input, type, dims);
  RequireDims(input, *dims, expected);
  if (CountOf(*dims) == 0) throw std::invalid_argument("input " + std::to_string(input) + " is empty");
  return data;
}

const void* NodeCall::InputData(size_t input, ONNXTensorElementDataType type, Dims* dims) const {
  const OrtValue* value = nullptr;
  Check(api_, api_.KernelContext_GetInput(context_, input, &value));
  return Read(api_, value, input, type, dims);
}

void* NodeCall::OutputData(const Dims& dims) const {
  OrtValue* value = nullptr;
  Check(api_, api_.KernelContext_GetOutput(context_, 0, dims.data(), dims.size(), &value));
  void* data = nullptr;
  Check(api_, api_.GetTensorMutableData(value, &data));
  return data;
}

void NodeCall::ParallelFor(void (*function)(void* user, size_t i), size_t count, void* user) const {
  Check(api_, api_.KernelContext_ParallelFor(context_, function, count, 0, user));
}

}  // namespace mvf::ort

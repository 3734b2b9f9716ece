// A safetensors file in memory: whatever its bytes, nothing outside them is read.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model_file/json.h"

namespace mvf {

class Safetensors : public ArraySource {
 public:
  // `data` must outlive this. Throws std::invalid_argument for bytes that are no such file, are cut off, or
  // whose header does not describe them to the last byte.
  Safetensors(const std::byte* data, size_t size);

  // Throws std::invalid_argument where there is none under that key.
  const std::string& Metadata(const char* key) const;

  // A float array may be stored in 16 bits, in either format. Throws std::invalid_argument for a tensor that
  // is not there, has another type or shape, or numbers that are not finite.
  const void* Array(const std::string& array, const std::string& name, ElementType type,
                    const Shape& shape) override;

  // Throws std::invalid_argument, naming one, where there are tensors that were never asked for.
  void RequireAllUsed() const;

 private:
  struct Tensor {
    std::string type;
    Shape shape;
    int64_t begin = 0;
    int64_t end = 0;
    bool is_used = false;
  };

  void ReadHeader(std::unique_ptr<DataValue> header);
  const void* Floats(const Tensor& tensor, const std::string& array);

  const std::byte* data_;  // of the tensors
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Tensor> tensors_;
  std::vector<std::unique_ptr<std::byte[]>> copies_;
};

}  // namespace mvf

#include "model_file/safetensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "base/half.h"
#include "engine/data_map.h"

namespace mvf {
namespace {

constexpr size_t kLengthBytes = 8;
// A header of this size takes some twenty times as much memory; those of models have a few hundred kilobytes.
constexpr size_t kMaxHeader = 16 << 20;
constexpr int64_t kMaxElements = int64_t{1} << 48;
constexpr size_t kMaxRank = 16;

struct StoredType {
  const char* name;
  int64_t bytes;
};

// Those that a model's tensors can have.
constexpr StoredType kTypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I32", 4}, {"I8", 1}, {"U8", 1}};

[[noreturn]] void Malformed(const std::string& problem) {
  throw std::invalid_argument("not a valid safetensors file: " + problem);
}

// Of a name from a file, which can hold many megabytes.
std::string Quoted(const std::string& name) {
  return "'" + (name.size() <= 100 ? name : name.substr(0, 100) + "...") + "'";
}

// Names that end early would be looked up as others.
void RequireWhole(const std::string& name, const char* what) {
  if (name.find('\0') != std::string::npos) Malformed(std::string(what) + " holds the character 0");
}

std::string ToString(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

int64_t BytesOf(const std::string& tensor, const std::string& type, const Shape& shape) {
  const auto* stored = std::find_if(std::begin(kTypes), std::end(kTypes),
                                    [&](const StoredType& known) { return type == known.name; });
  if (stored == std::end(kTypes)) Malformed("tensor " + Quoted(tensor) + " has type " + Quoted(type));
  if (shape.size() > kMaxRank) Malformed("tensor " + Quoted(tensor) + " has too many dimensions");
  int64_t elements = 1;
  for (int64_t edge : shape) {
    if (edge > 0 && elements > kMaxElements / edge) {
      Malformed("tensor " + Quoted(tensor) + " has the impossible shape " + ToString(shape));
    }
    elements *= edge;
  }
  return elements * stored->bytes;
}

const char* NameOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat:
      return "F32";
    case ElementType::kInt8:
      return "I8";
    case ElementType::kUint8:
      return "U8";
    default:
      return "I32";
  }
}

bool HoldsFloats(const std::string& type) { return type == "F32" || type == "F16" || type == "BF16"; }

}  // namespace

Safetensors::Safetensors(const std::byte* data, size_t size) {
  if (size < kLengthBytes) Malformed("it has " + std::to_string(size) + " bytes, too few for a header");
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<uint64_t>(data[i]) << (8 * i);
  if (length > std::min(size - kLengthBytes, kMaxHeader)) {
    Malformed("its header claims " + std::to_string(length) + " bytes; the file has " + std::to_string(size) +
              ", and a header at most " + std::to_string(kMaxHeader));
  }
  const auto* text = reinterpret_cast<const char*>(data) + kLengthBytes;
  ReadHeader(ParseJson({text, static_cast<size_t>(length)}, "the file's header"));

  data_ = data + kLengthBytes + length;
  std::vector<const std::pair<const std::string, Tensor>*> in_order;
  for (const auto& entry : tensors_) in_order.push_back(&entry);
  std::sort(in_order.begin(), in_order.end(), [](const auto* a, const auto* b) {
    return std::make_pair(a->second.begin, a->second.end) < std::make_pair(b->second.begin, b->second.end);
  });
  int64_t position = 0;
  for (const auto* entry : in_order) {
    if (entry->second.begin != position) {
      Malformed("tensor " + Quoted(entry->first) + " starts at byte " + std::to_string(entry->second.begin) +
                " of the data, expected " + std::to_string(position));
    }
    position = entry->second.end;
  }
  const auto available = static_cast<int64_t>(size - kLengthBytes - length);
  if (position != available) {
    Malformed("its tensors take " + std::to_string(position) + " bytes, the file has " +
              std::to_string(available) + " for them");
  }
}

void Safetensors::ReadHeader(std::unique_ptr<DataValue> header) {
  const std::vector<std::string> names = header->Keys("the file's header");
  for (const std::string& name : names) {
    if (name == "__metadata__") {
      const std::unique_ptr<DataValue> metadata = header->Find(name.c_str());
      for (const std::string& key : metadata->Keys("the file's metadata")) {
        RequireWhole(key, "a key of its metadata");
        metadata_[key] = metadata->Find(key.c_str())->String("the file's metadata");
      }
      continue;
    }
    RequireWhole(name, "a tensor's name");
    DataMap entry(header->Find(name.c_str()), "tensor " + Quoted(name));
    Tensor tensor;
    tensor.type = entry.String("dtype");
    for (const auto& edge : entry.List("shape")) {
      tensor.shape.push_back(edge->Int(entry.NameOf("shape"), 0, kMaxElements));
    }
    const auto offsets = entry.List("data_offsets");
    if (offsets.size() != 2) Malformed(entry.NameOf("data_offsets") + " must be two numbers");
    tensor.begin = offsets[0]->Int(entry.NameOf("data_offsets"), 0, INT64_MAX);
    tensor.end = offsets[1]->Int(entry.NameOf("data_offsets"), tensor.begin, INT64_MAX);
    entry.Finish();
    const int64_t wanted = BytesOf(name, tensor.type, tensor.shape);
    if (tensor.end - tensor.begin != wanted) {
      Malformed("tensor " + Quoted(name) + ": " + tensor.type + " " + ToString(tensor.shape) + " is " +
                std::to_string(wanted) + " bytes, its offsets give " +
                std::to_string(tensor.end - tensor.begin));
    }
    tensors_[name] = std::move(tensor);
  }
}

const std::string& Safetensors::Metadata(const char* key) const {
  const auto entry = metadata_.find(key);
  if (entry == metadata_.end()) {
    throw std::invalid_argument("the file's metadata has no entry '" + std::string(key) + "'");
  }
  return entry->second;
}

const void* Safetensors::Array(const std::string& array, const std::string& name, ElementType type,
                               const Shape& shape) {
  const auto entry = tensors_.find(array);
  if (entry == tensors_.end()) {
    throw std::invalid_argument(name + " names tensor " + Quoted(array) + ", which the file does not have");
  }
  Tensor& tensor = entry->second;
  const bool is_float = type == ElementType::kFloat;
  if (tensor.shape != shape || (is_float ? !HoldsFloats(tensor.type) : tensor.type != NameOf(type))) {
    throw std::invalid_argument(name + " must be " + NameOf(type) + " " + ToString(shape) + "; tensor " +
                                Quoted(array) + " is " + tensor.type + " " + ToString(tensor.shape));
  }
  if (tensor.begin == tensor.end) throw std::invalid_argument(name + " has no elements");
  tensor.is_used = true;
  if (is_float) return Floats(tensor, array);
  const std::byte* stored = data_ + tensor.begin;
  if (type != ElementType::kInt32 || reinterpret_cast<uintptr_t>(stored) % alignof(int32_t) == 0)
    return stored;
  const auto size = static_cast<size_t>(tensor.end - tensor.begin);
  copies_.push_back(std::make_unique<std::byte[]>(size));
  std::memcpy(copies_.back().get(), stored, size);
  return copies_.back().get();
}

const void* Safetensors::Floats(const Tensor& tensor, const std::string& array) {
  const std::byte* stored = data_ + tensor.begin;
  const auto size = static_cast<size_t>(tensor.end - tensor.begin);
  const bool is_wide = tensor.type == "F32";
  const size_t count = size / (is_wide ? sizeof(float) : sizeof(uint16_t));
  const auto* floats = reinterpret_cast<const float*>(stored);
  if (!is_wide || reinterpret_cast<uintptr_t>(stored) % alignof(float) != 0) {
    copies_.push_back(std::make_unique<std::byte[]>(count * sizeof(float)));
    auto* copy = reinterpret_cast<float*>(copies_.back().get());
    for (size_t i = 0; i < count; ++i) {
      if (is_wide) {
        std::memcpy(copy + i, stored + i * sizeof(float), sizeof(float));
        continue;
      }
      uint16_t bits = 0;
      std::memcpy(&bits, stored + i * sizeof(bits), sizeof(bits));
      copy[i] = tensor.type == "F16" ? ToFloat(Half{bits}) : ToFloat(Bf16{bits});
    }
    floats = copy;
  }
  if (!std::all_of(floats, floats + count, [](float value) { return std::isfinite(value); })) {
    throw std::invalid_argument("tensor " + Quoted(array) + " holds numbers that are not finite");
  }
  return floats;
}

void Safetensors::RequireAllUsed() const {
  for (const auto& [name, tensor] : tensors_) {
    if (!tensor.is_used) throw std::invalid_argument("the file has an unexpected tensor " + Quoted(name));
  }
}

}  // namespace mvf

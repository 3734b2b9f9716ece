// Aligned memory that is grown, never shrunk, and the error that says how much could not be had.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>

namespace mvf {

constexpr size_t kCacheLine = 64;

// Reported to Python as MemoryError.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// a * b and a + b, or OutOfMemory where a size cannot state them.
size_t CheckedProduct(size_t a, size_t b);
size_t CheckedSum(size_t a, size_t b);

// Rounded up to a multiple of `multiple`.
inline size_t RoundUp(size_t bytes, size_t multiple) {
  return CheckedSum(bytes, multiple - 1) / multiple * multiple;
}

// Throws OutOfMemory for more than the machine has: a process that touched so much would be killed. `purpose`
// says what the bytes are for.
void CheckAffordable(size_t bytes, const char* purpose);

// Uninitialised bytes that start at a cache line; in huge pages where they are many and the system has such
// pages.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  AlignedBuffer(size_t bytes, const char* purpose) { Reserve(bytes, purpose); }

  // Holds at least `bytes` afterwards; what it held is lost if it has to grow. Throws OutOfMemory.
  void Reserve(size_t bytes, const char* purpose);

  std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte[], Free> data_;
  size_t size_ = 0;
};

}  // namespace mvf

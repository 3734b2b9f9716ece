// The CUDA runtime as far as an engine needs it, without its headers. All of it throws CudaError.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "cuda/simt_types.h"

namespace mvf::cuda {

// Why this process can use no device: no driver, one that is too old, no device. Empty where it can.
std::string WhyUnavailable();

int DeviceCount();

struct DeviceProperties {
  std::string name;
  int major = 0;  // compute capability
  int minor = 0;
  int multiprocessors = 0;
  size_t shared_bytes = 0;  // that one block may have
  size_t memory = 0;        // bytes
};
DeviceProperties PropertiesOf(int device);

// The number of the device whose memory that is, or -1 for any other address.
int DeviceOf(const void* address);

// Makes a device current for this thread, and afterwards the one that was.
class DeviceScope {
 public:
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int device_, previous_;
};

// What follows belongs to the device that was current when it was made, which is current where it is used; it
// may be destroyed anywhere.

// Device memory, at a multiple of 256 bytes.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // Throws OutOfMemory, too.
  DeviceBuffer(size_t bytes, const char* purpose);

  std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte[], Free> data_;
  size_t size_ = 0;
};

// In the stream's order. Host memory may be reused when CopyToDevice returns, and read after Synchronize.
void CopyToDevice(void* to, const void* from, size_t bytes, Stream stream);
void CopyToHost(void* to, const void* from, size_t bytes, Stream stream);
void Synchronize(Stream stream);

// Whether what is enqueued there is being recorded into somebody's graph.
bool IsCapturing(Stream stream);

class OwnedStream {
 public:
  OwnedStream();
  Stream get() const { return stream_.get(); }

 private:
  struct Destroy {
    void operator()(void* stream) const;
  };
  std::unique_ptr<void, Destroy> stream_;
};

// A point in a stream that others can wait for.
class Event {
 public:
  explicit Event(bool timed = false);
  void Record(Stream stream);
  void MakeWait(Stream stream) const;  // `stream` waits for what was recorded last, if anything was
  void Synchronize() const;            // this thread does
  // Of two timed events that have come to pass.
  double MillisecondsSince(const Event& earlier) const;

 private:
  struct Destroy {
    void operator()(void* event) const;
  };
  std::unique_ptr<void, Destroy> event_;
};

// Launches recorded once and repeated as one.
class Graph {
 public:
  // Records what `enqueue` enqueues on the stream that it is given.
  explicit Graph(const std::function<void(Stream)>& enqueue);
  void Launch(Stream stream) const;

 private:
  struct Destroy {
    void operator()(void* graph) const;
  };
  std::unique_ptr<void, Destroy> executable_;
};

}  // namespace mvf::cuda

#include "cuda/device.h"

#include <cuda_runtime_api.h>

#include "base/memory.h"
#include "cuda/cuda_error.h"

namespace mvf::cuda {

void CheckCuda(int code, const char* purpose) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // so that the next check does not see it again
  throw CudaError(std::string("CUDA refused ") + purpose + ": " +
                  cudaGetErrorString(static_cast<cudaError_t>(code)));
}

namespace {

cudaStream_t Native(Stream stream) { return static_cast<cudaStream_t>(stream); }

}  // namespace

std::string WhyUnavailable() {
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return "no NVIDIA driver was found (libcuda.so.1)";
  }
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) {
    cudaGetLastError();
    return std::string("the NVIDIA driver answered: ") + cudaGetErrorString(code);
  }
  return count == 0 ? "the NVIDIA driver offers no device" : "";
}

int DeviceCount() {
  int count = 0;
  CheckCuda(cudaGetDeviceCount(&count), "to count the devices");
  return count;
}

DeviceProperties PropertiesOf(int device) {
  cudaDeviceProp found;
  CheckCuda(cudaGetDeviceProperties(&found, device), "to describe a device");
  DeviceProperties properties;
  properties.name = found.name;
  properties.major = found.major;
  properties.minor = found.minor;
  properties.multiprocessors = found.multiProcessorCount;
  properties.shared_bytes = found.sharedMemPerBlockOptin;
  properties.memory = found.totalGlobalMem;
  return properties;
}

int DeviceOf(const void* address) {
  cudaPointerAttributes attributes;
  if (cudaPointerGetAttributes(&attributes, address) != cudaSuccess) {
    cudaGetLastError();
    return -1;
  }
  const bool on_device = attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
  return on_device ? attributes.device : -1;
}

DeviceScope::DeviceScope(int device) : device_(device) {
  CheckCuda(cudaGetDevice(&previous_), "to name the current device");
  if (device != previous_) CheckCuda(cudaSetDevice(device), "to make a device current");
}

DeviceScope::~DeviceScope() {
  // To make a device current starts it, so it is left alone where nothing has changed.
  if (device_ != previous_ && cudaSetDevice(previous_) != cudaSuccess) cudaGetLastError();
}

DeviceBuffer::DeviceBuffer(size_t bytes, const char* purpose) : size_(bytes) {
  void* data = nullptr;
  const cudaError_t code = cudaMalloc(&data, bytes > 0 ? bytes : 1);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw OutOfMemory("the device has no " + std::to_string(bytes) + " bytes left for " + purpose);
  }
  CheckCuda(code, "to give memory");
  data_.reset(static_cast<std::byte*>(data));
}

void DeviceBuffer::Free::operator()(std::byte* data) const { cudaFree(data); }

void CopyToDevice(void* to, const void* from, size_t bytes, Stream stream) {
  CheckCuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, Native(stream)),
            "to copy to the device");
  // Of pinned memory the copy may still be under way.
  CheckCuda(cudaStreamSynchronize(Native(stream)), "to copy to the device");
}

void CopyToHost(void* to, const void* from, size_t bytes, Stream stream) {
  CheckCuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, Native(stream)),
            "to copy from the device");
}

void Synchronize(Stream stream) { CheckCuda(cudaStreamSynchronize(Native(stream)), "to finish"); }

bool IsCapturing(Stream stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  CheckCuda(cudaStreamIsCapturing(Native(stream), &status), "to say whether a stream is captured");
  return status != cudaStreamCaptureStatusNone;
}

OwnedStream::OwnedStream() {
  cudaStream_t stream = nullptr;
  CheckCuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "to make a stream");
  stream_.reset(stream);
}

void OwnedStream::Destroy::operator()(void* stream) const { cudaStreamDestroy(Native(stream)); }

Event::Event(bool timed) {
  cudaEvent_t event = nullptr;
  CheckCuda(cudaEventCreateWithFlags(&event, timed ? cudaEventDefault : cudaEventDisableTiming),
            "to make an event");
  event_.reset(event);
}

void Event::Destroy::operator()(void* event) const { cudaEventDestroy(static_cast<cudaEvent_t>(event)); }

void Event::Record(Stream stream) {
  CheckCuda(cudaEventRecord(static_cast<cudaEvent_t>(event_.get()), Native(stream)), "to record an event");
}

void Event::MakeWait(Stream stream) const {
  CheckCuda(cudaStreamWaitEvent(Native(stream), static_cast<cudaEvent_t>(event_.get()), 0),
            "to wait for an event");
}

void Event::Synchronize() const {
  CheckCuda(cudaEventSynchronize(static_cast<cudaEvent_t>(event_.get())), "to wait for an event");
}

double Event::MillisecondsSince(const Event& earlier) const {
  float milliseconds = 0;
  CheckCuda(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(earlier.event_.get()),
                                 static_cast<cudaEvent_t>(event_.get())),
            "to tell a time");
  return milliseconds;
}

Graph::Graph(const std::function<void(Stream)>& enqueue) {
  const OwnedStream stream;
  // Other threads may go on allocating and launching while this one records.
  CheckCuda(cudaStreamBeginCapture(Native(stream.get()), cudaStreamCaptureModeThreadLocal),
            "to record a graph");
  cudaGraph_t graph = nullptr;
  try {
    enqueue(stream.get());
  } catch (...) {
    cudaStreamEndCapture(Native(stream.get()), &graph);
    cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  CheckCuda(cudaStreamEndCapture(Native(stream.get()), &graph), "to record a graph");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t code = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  CheckCuda(code, "to make a graph ready");
  executable_.reset(executable);
}

void Graph::Destroy::operator()(void* graph) const {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

void Graph::Launch(Stream stream) const {
  CheckCuda(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_.get()), Native(stream)),
            "to launch a graph");
}

}  // namespace mvf::cuda

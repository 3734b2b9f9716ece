#include "emulated_device.h"

#include <cstdlib>
#include <cstring>
#include <vector>

#include "cuda/cuda_error.h"
#include "cuda/device.h"
#include "cuda_emulator.h"

namespace mvf_test {
namespace {

bool pretended = false;
int major_capability = 9;
size_t in_use = 0;
constexpr size_t kHeader = 256;  // before each buffer: its size

}  // namespace

void PretendCapturing(bool capturing) { pretended = capturing; }
void PretendCapability(int major) { major_capability = major; }

size_t DeviceBytesInUse() { return in_use; }

}  // namespace mvf_test

namespace mvf::cuda {

using mvf_test::in_use;
using mvf_test::kHeader;

void CheckCuda(int code, const char* purpose) {
  if (code != 0) throw CudaError(purpose);
}

std::string WhyUnavailable() { return ""; }
int DeviceCount() { return 1; }

DeviceProperties PropertiesOf(int) {
  DeviceProperties properties;
  properties.name = "emulated";
  properties.major = mvf_test::major_capability;
  properties.multiprocessors = 2;
  properties.shared_bytes = 99 * 1024;
  return properties;
}

int DeviceOf(const void*) { return 0; }

DeviceScope::DeviceScope(int device) : device_(device), previous_(device) {}
DeviceScope::~DeviceScope() { (void)(device_ + previous_); }

DeviceBuffer::DeviceBuffer(size_t bytes, const char*) : size_(bytes) {
  auto* memory = static_cast<std::byte*>(std::malloc(kHeader + bytes));
  std::memcpy(memory, &bytes, sizeof(bytes));
  std::memset(memory + kHeader, 0xff, bytes);
  data_.reset(memory + kHeader);
  in_use += bytes;
}

void DeviceBuffer::Free::operator()(std::byte* data) const {
  size_t bytes = 0;
  std::memcpy(&bytes, data - kHeader, sizeof(bytes));
  in_use -= bytes;
  std::free(data - kHeader);
}

void CopyToDevice(void* to, const void* from, size_t bytes, Stream) { std::memcpy(to, from, bytes); }
void CopyToHost(void* to, const void* from, size_t bytes, Stream) { std::memcpy(to, from, bytes); }
void Synchronize(Stream) {}
bool IsCapturing(Stream) { return mvf_test::pretended; }

OwnedStream::OwnedStream() : stream_(new int) {}
void OwnedStream::Destroy::operator()(void* stream) const { delete static_cast<int*>(stream); }

Event::Event(bool) {}
void Event::Destroy::operator()(void*) const {}
void Event::Record(Stream) {}
void Event::MakeWait(Stream) const {}
void Event::Synchronize() const {}
double Event::MillisecondsSince(const Event&) const { return 0; }

using Launches = std::vector<std::function<void()>>;

Graph::Graph(const std::function<void(Stream)>& enqueue) {
  mvf_test::BeginCapture();
  try {
    enqueue(nullptr);
  } catch (...) {
    mvf_test::EndCapture();
    throw;
  }
  executable_.reset(new Launches(mvf_test::EndCapture()));
}
void Graph::Destroy::operator()(void* graph) const { delete static_cast<Launches*>(graph); }
void Graph::Launch(Stream) const {
  for (const auto& launch : *static_cast<const Launches*>(executable_.get())) launch();
}

}  // namespace mvf::cuda

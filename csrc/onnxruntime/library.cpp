// The library that onnxruntime loads: SessionOptions.register_custom_ops_library finds `RegisterCustomOps`.
//
// Nodes of domain `mobilevit_fast` then run on our kernels, on the threads of their session. A node's work is
// divided for as many threads as this process may use, or as the session's configuration says under
// `mobilevit_fast.threads`.
#include <cstdlib>
#include <map>
#include <mutex>
#include <stdexcept>

#include "base/cpu_count.h"
#include "onnxruntime/node_kernel.h"

namespace mvf::ort {
namespace {

constexpr const char* kDomain = "mobilevit_fast";
constexpr const char* kThreadsEntry = "mobilevit_fast.threads";
// Of onnxruntime's interface: that of 1.17, the first with everything that is used here.
constexpr uint32_t kApiVersion = 17;

const OrtApi* api = nullptr;

template <class Function>
OrtStatus* Guarded(Function&& function) {
  try {
    function();
    return nullptr;
  } catch (const std::exception& error) {
    return api->CreateStatus(ORT_FAIL, error.what());
  }
}

// One of our node types as onnxruntime knows it; callbacks get it back as their first argument.
struct Operation : OrtCustomOp {
  Operation(NodeType node_type, int thread_count)
      : OrtCustomOp{}, type(std::move(node_type)), threads(thread_count) {
    version = kApiVersion;
    GetName = [](const OrtCustomOp* op) { return Of(op).type.name; };
    GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };
    GetInputTypeCount = [](const OrtCustomOp* op) { return Of(op).type.inputs.size(); };
    GetInputType = [](const OrtCustomOp* op, size_t input) { return Of(op).type.inputs[input]; };
    GetOutputTypeCount = [](const OrtCustomOp*) -> size_t { return 1; };
    GetOutputType = [](const OrtCustomOp* op, size_t) { return Of(op).type.output; };
    GetInputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
    GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
    GetInputMemoryType = [](const OrtCustomOp*, size_t) { return OrtMemTypeDefault; };
    GetStartVersion = [](const OrtCustomOp*) { return 1; };
    GetEndVersion = [](const OrtCustomOp*) { return 1; };
    CreateKernelV2 = [](const OrtCustomOp* op, const OrtApi*, const OrtKernelInfo* info, void** kernel) {
      return Guarded([&] { *kernel = Of(op).type.make(NodeInfo(*api, info, Of(op).threads)).release(); });
    };
    KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
      return Guarded([&] { static_cast<NodeKernel*>(kernel)->Compute(NodeCall(*api, context)); });
    };
    KernelDestroy = [](void* kernel) { delete static_cast<NodeKernel*>(kernel); };
  }

  static const Operation& Of(const OrtCustomOp* op) { return *static_cast<const Operation*>(op); }

  const NodeType type;
  const int threads;
};

// All operations for sessions of that many threads. Sessions only point to them, so they live for ever.
OrtCustomOpDomain* DomainFor(int threads) {
  static std::mutex mutex;
  static std::map<int, OrtCustomOpDomain*> domains;
  const std::lock_guard<std::mutex> lock(mutex);
  OrtCustomOpDomain*& domain = domains[threads];
  if (domain != nullptr) return domain;
  OrtCustomOpDomain* made = nullptr;
  Check(*api, api->CreateCustomOpDomain(kDomain, &made));
  for (const auto& nodes : {ConvolutionNodes(), RowNodes(), AttentionNodes(), Int8ConvolutionNodes(),
                            Int8RowNodes(), Int8NormAndPoolNodes()}) {
    for (const NodeType& type : nodes)
      Check(*api, api->CustomOpDomain_Add(made, new Operation(type, threads)));
  }
  return domain = made;
}

int ThreadsOf(const OrtSessionOptions* options) {
  int is_set = 0;
  Check(*api, api->HasSessionConfigEntry(options, kThreadsEntry, &is_set));
  if (!is_set) return DefaultThreads();
  size_t size = 0;
  Check(*api, api->GetSessionConfigEntry(options, kThreadsEntry, nullptr, &size));
  std::string text(size, '\0');
  Check(*api, api->GetSessionConfigEntry(options, kThreadsEntry, text.data(), &size));
  char* end = nullptr;
  const long threads = std::strtol(text.c_str(), &end, 10);
  if (end == text.c_str() || *end != '\0' || threads < 1 || threads > kMaxThreads) {
    throw std::invalid_argument(std::string(kThreadsEntry) + " must be a number from 1 to " +
                                std::to_string(kMaxThreads) + ", got '" + text.c_str() + "'");
  }
  return static_cast<int>(threads);
}

}  // namespace
}  // namespace mvf::ort

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                               const OrtApiBase* base) {
  using namespace mvf::ort;
  const OrtApi* found = base->GetApi(kApiVersion);
  if (found == nullptr) {
    // Of the oldest interface there is only what makes an error.
    return base->GetApi(1)->CreateStatus(ORT_FAIL, "mobilevit_fast needs onnxruntime 1.17 or newer");
  }
  api = found;
  return Guarded([&] { Check(*api, api->AddCustomOpDomain(options, DomainFor(ThreadsOf(options)))); });
}

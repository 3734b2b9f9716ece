// _C.cuda_ops: single operations on dense arrays of a CUDA device, enqueued on the caller's stream.
//
// Weights are on the device, too, and are packed there at each call, into memory that the caller gives.
#include <algorithm>
#include <climits>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/cuda_table.h"
#include "cuda/device.h"
#include "cuda/device_packing.h"
#include "python/bindings.h"
#include "python/device_arrays.h"
#include "python/ops_arguments.h"
#include "python/scalars.h"

namespace mvf {
namespace {

const CudaTable& TableOf(DType type) {
  switch (type) {
    case DType::kF16:
      return CudaTableF16();
    case DType::kBf16:
      return CudaTableBf16();
    case DType::kF32:
      break;
  }
  return CudaTableF32();
}

// Asking takes longer than an operation does.
cuda::DeviceProperties PropertiesOnce(int device) {
  static std::mutex mutex;
  static std::map<int, cuda::DeviceProperties> known;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = known.find(device);
  return found != known.end() ? found->second : known[device] = cuda::PropertiesOf(device);
}

// One call on one device and stream, in the type of its first array.
class Call {
 public:
  Call(const Object& x, const Object& device, const Object& cuda_stream) : device_(ReadCudaDevice(device)) {
    const auto address = static_cast<uintptr_t>(ReadInt(cuda_stream, "cuda_stream", 0, INT64_MAX));
    run_.stream = reinterpret_cast<cuda::Stream>(address);
    type_ = DeviceArrayType(x, "x");
  }

  const CudaTable& table() const { return TableOf(type_); }

  DenseDeviceArray Read(const Object& array, const char* name, const Shape& expected, const char* layout) {
    DenseDeviceArray read = ReadDenseArray(array, name, type_, expected, layout, device_);
    memory_.push_back(MemoryOf(name, read.data, BytesOf(read.shape)));
    return read;
  }
  DenseDeviceArray ReadMap(const Object& array, const char* name) {
    const DenseDeviceArray map = Read(array, name, {kAnySize, kAnySize, kAnySize, kAnySize}, "[N, H, W, C]");
    if (map.shape[1] < 1 || map.shape[2] < 1 || map.shape[3] < 1) {
      throw std::invalid_argument(std::string(name) +
                                  " must be [N, H, W, C] with H, W and C of at least 1, got " +
                                  ToString(map.shape));
    }
    return map;
  }
  const void* ReadBias(const Object& array, const char* name, int64_t channels) {
    return array.is_none() ? nullptr : Read(array, name, {channels}, "[out]").data;
  }
  // After all that is read.
  void* Output(const Object& array, const Shape& shape) {
    // Kernels store two neighbours at once.
    void* data = ReadDenseOutput(array, "out", type_, shape, device_, 2 * SizeOf(type_));
    AddWritten(MemoryOf("out", data, BytesOf(shape)));
    return data;
  }

  // Packs weights, then launch(packed, run).
  template <class Shape, class HostWeights, class Weights, class Launch>
  void Enqueue(const Packing<Shape, HostWeights>& packing, const Shape& shape, const Weights& weights,
               const Object& workspace, int64_t images, Launch&& launch) {
    const size_t bytes = packing.packed_bytes(shape);
    // The reference keeps the memory until all is enqueued; afterwards it is its allocator's affair.
    const py::object memory = workspace(bytes);
    void* packed = ReadWorkspace(memory, kWorkspace, static_cast<int64_t>(bytes), device_);
    AddWritten(MemoryOf(kWorkspace, packed, bytes));
    Enqueue(images, [&](const CudaRun& run) {
      PackOnDevice(type_, shape, weights, packed, run);
      launch(packed, run);
    });
  }

  template <class Launch>
  void Enqueue(int64_t images, Launch&& launch) {
    const cuda::DeviceProperties properties = PropertiesOnce(device_);
    run_.images = images;
    run_.multiprocessors = properties.multiprocessors;
    run_.shared_bytes = properties.shared_bytes;
    py::gil_scoped_release unlocked;
    const cuda::DeviceScope scope(device_);
    launch(run_);
  }

 private:
  static constexpr const char* kWorkspace = "what workspace gives";

  struct Memory {
    const char* name;
    uintptr_t begin, end;
  };
  static Memory MemoryOf(const char* name, const void* data, size_t bytes) {
    const auto begin = reinterpret_cast<uintptr_t>(data);
    return {name, begin, begin + bytes};
  }
  size_t BytesOf(const Shape& shape) const {
    size_t bytes = SizeOf(type_);
    for (int64_t size : shape) bytes *= static_cast<size_t>(size);
    return bytes;
  }

  // Some blocks have written before others have read.
  void AddWritten(const Memory& written) {
    for (const Memory& other : memory_) {
      if (std::max(written.begin, other.begin) < std::min(written.end, other.end)) {
        throw std::invalid_argument(std::string(written.name) + " shares memory with " + other.name);
      }
    }
    memory_.push_back(written);
  }

  int device_;
  DType type_;
  CudaRun run_;
  std::vector<Memory> memory_;  // of the arrays so far
};

Map MapOf(const DenseDeviceArray& array) {
  return DenseMap(array.data, array.shape[1], array.shape[2], array.shape[3]);
}

void Linear(const Object& x_object, const Object& weight_object, const Object& bias, const Object& residual,
            const Object& silu, const Object& out, const Object& workspace, const Object& device,
            const Object& cuda_stream) {
  Call call(x_object, device, cuda_stream);
  const DenseDeviceArray x = call.Read(x_object, "x", {kAnySize, kAnySize}, "[rows, K]");
  if (x.shape[1] < 1) throw std::invalid_argument("x must have at least one channel");
  const DenseDeviceArray weight =
      call.Read(weight_object, "weight", {kAnySize, x.shape[1]}, "[M, K] with x's K");
  LinearArgs args;
  args.shape.in = x.shape[1];
  args.shape.out = weight.shape[0];
  args.shape.activation = ReadSilu(silu);
  const DeviceWeights weights = {weight.data, call.ReadBias(bias, "bias", args.shape.out)};
  const Shape output = {x.shape[0], args.shape.out};
  if (!residual.is_none()) {
    args.residual = call.Read(residual, "residual", output, "[rows, M]").data;
    args.residual_stride = args.shape.out;
  }
  args.rows = x.shape[0];
  args.input = x.data;
  args.input_stride = args.shape.in;
  args.output = call.Output(out, output);
  args.output_stride = args.shape.out;
  if (args.rows == 0 || args.shape.out == 0) return;
  const CudaTable& table = call.table();
  call.Enqueue(table.linear_packing, args.shape, weights, workspace, 1,
               [&](const void* packed, const CudaRun& run) {
                 args.packed = packed;
                 table.linear.run(args, run);
               });
}

void Conv3x3(const Object& x_object, const Object& weight_object, const Object& bias, const Object& stride,
             const Object& silu, const Object& out, const Object& workspace, const Object& device,
             const Object& cuda_stream) {
  Call call(x_object, device, cuda_stream);
  const DenseDeviceArray x = call.ReadMap(x_object, "x");
  const DenseDeviceArray weight =
      call.Read(weight_object, "weight", {kAnySize, 3, 3, x.shape[3]}, "[out, 3, 3, C] with x's C");
  Conv3x3Args args;
  args.shape.in = x.shape[3];
  args.shape.out = weight.shape[0];
  args.shape.stride = ReadStride(stride);
  args.shape.activation = ReadSilu(silu);
  const DeviceWeights weights = {weight.data, call.ReadBias(bias, "bias", args.shape.out)};
  const Shape output = ConvolvedShape(x.shape[0], x.shape[1], x.shape[2], args.shape.stride, args.shape.out);
  args.input = MapOf(x);
  args.output = MapOf({output, call.Output(out, output)});
  if (x.shape[0] == 0 || args.shape.out == 0) return;
  const CudaTable& table = call.table();
  call.Enqueue(table.conv3x3_packing, args.shape, weights, workspace, x.shape[0],
               [&](const void* packed, const CudaRun& run) {
                 args.packed = packed;
                 table.conv3x3.run(args, run);
               });
}

void InvertedResidual(const Object& x_object, const Object& expand_weight, const Object& expand_bias,
                      const Object& depthwise_weight, const Object& depthwise_bias,
                      const Object& project_weight, const Object& project_bias, const Object& stride,
                      const Object& residual, const Object& out, const Object& workspace,
                      const Object& device, const Object& cuda_stream) {
  Call call(x_object, device, cuda_stream);
  const DenseDeviceArray x = call.ReadMap(x_object, "x");
  const DenseDeviceArray expand =
      call.Read(expand_weight, "expand_weight", {kAnySize, x.shape[3]}, "[expanded, C] with x's C");
  InvertedResidualArgs args;
  InvertedResidualShape& shape = args.shape;
  shape.in = x.shape[3];
  shape.expanded = expand.shape[0];
  const DenseDeviceArray project =
      call.Read(project_weight, "project_weight", {kAnySize, shape.expanded}, "[out, expanded]");
  shape.out = project.shape[0];
  shape.stride = ReadStride(stride);
  shape.residual = ReadBool(residual, "residual");
  RequireResidualFits(shape.residual, shape.stride, shape.in, shape.out);
  if (shape.expanded < 1) throw std::invalid_argument("expand_weight must have at least one row");
  DeviceInvertedResidualWeights weights;
  weights.expand = {expand.data, call.ReadBias(expand_bias, "expand_bias", shape.expanded)};
  weights.depthwise = {
      call.Read(depthwise_weight, "depthwise_weight", {3, 3, shape.expanded}, "[3, 3, expanded]").data,
      call.ReadBias(depthwise_bias, "depthwise_bias", shape.expanded)};
  weights.project = {project.data, call.ReadBias(project_bias, "project_bias", shape.out)};
  const Shape output = ConvolvedShape(x.shape[0], x.shape[1], x.shape[2], shape.stride, shape.out);
  args.input = MapOf(x);
  args.output = MapOf({output, call.Output(out, output)});
  if (x.shape[0] == 0 || shape.out == 0) return;
  const CudaTable& table = call.table();
  call.Enqueue(table.inverted_residual_packing, shape, weights, workspace, x.shape[0],
               [&](const void* packed, const CudaRun& run) {
                 args.packed = packed;
                 table.inverted_residual.run(args, run);
               });
}

void Attention(const Object& qkv_object, const Object& heads, const Object& patch, const Object& out,
               const Object& device, const Object& cuda_stream) {
  Call call(qkv_object, device, cuda_stream);
  const DenseDeviceArray qkv = call.ReadMap(qkv_object, "qkv");
  const PatchSize size = ReadPatchSize(patch);
  Strided strided;
  strided.shape = qkv.shape;
  AttentionArgs args;
  args.heads = ReadInt(heads, "heads", 1, INT_MAX);
  args.patch_height = size.height;
  args.patch_width = size.width;
  RequireDivisible(strided, args.heads, size);
  const Shape output = WithChannels(qkv.shape, qkv.shape[3] / 3);
  args.qkv = MapOf(qkv);
  args.output = MapOf({output, call.Output(out, output)});
  if (qkv.shape[0] == 0) return;
  const CudaTable& table = call.table();
  call.Enqueue(qkv.shape[0], [&](const CudaRun& run) { table.attention.run(args, run); });
}

}  // namespace

void BindCudaOps(py::module_& module) {
  py::module_ ops = module.def_submodule(
      "cuda_ops",
      "Single operations on dense arrays of a CUDA device, all float16, bfloat16 or float32 and channels "
      "last; `out` is filled in the order of `cuda_stream`, a cudaStream_t as an integer. `workspace(bytes)` "
      "gives a uint8 array of the device, which is used in that order, too.");
  ops.attr("max_head_dim") = kMaxCudaHeadDim;
  ops.attr("max_inverted_residual_input") = kMaxCudaExpandedInput;
  ops.def("linear", &Linear, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("residual"),
          py::arg("silu"), py::kw_only(), py::arg("out"), py::arg("workspace"), py::arg("device"),
          py::arg("cuda_stream"), "As ops.linear on rows [rows, K].");
  ops.def("conv3x3", &Conv3x3, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("stride"),
          py::arg("silu"), py::kw_only(), py::arg("out"), py::arg("workspace"), py::arg("device"),
          py::arg("cuda_stream"), "As ops.conv3x3 with one input.");
  ops.def("inverted_residual", &InvertedResidual, py::arg("x"), py::arg("expand_weight"),
          py::arg("expand_bias"), py::arg("depthwise_weight"), py::arg("depthwise_bias"),
          py::arg("project_weight"), py::arg("project_bias"), py::arg("stride"), py::arg("residual"),
          py::kw_only(), py::arg("out"), py::arg("workspace"), py::arg("device"), py::arg("cuda_stream"),
          "As ops.inverted_residual.");
  ops.def("attention", &Attention, py::arg("qkv"), py::arg("heads"), py::arg("patch"), py::kw_only(),
          py::arg("out"), py::arg("device"), py::arg("cuda_stream"), "As ops.attention.");
}

}  // namespace mvf

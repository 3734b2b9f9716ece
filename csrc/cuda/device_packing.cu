#include "cuda/device_packing-inl.h"
#include "cuda/device_packing.h"
#include "cuda/launch-inl.h"

namespace mvf {
namespace cuda {
namespace {

template <class Element>
void LaunchPackMatrix(const MatrixPlaces& places, const DeviceWeights& weights, std::byte* packed,
                      const CudaRun& run) {
  using Kernel = PackMatrixKernel<Element>;
  typename Kernel::Args args = {};
  args.weight = static_cast<const Element*>(weights.weight);
  args.bias = static_cast<const Element*>(weights.bias);
  args.tiles = reinterpret_cast<Element*>(packed + places.weights);
  args.packed_bias = reinterpret_cast<float*>(packed + places.bias);
  args.columns = Narrowed(places.columns);
  args.depth = Narrowed(places.depth);
  args.depth_tiles = Narrowed(PackedTiles(places.depth));
  args.elements = PackedColumns(places.columns) * Narrowed(PackedTiles(places.depth) * kTileDepth);
  LaunchBlocks<Kernel>(args, DivideUp(args.elements, Kernel::kThreads), Kernel::kThreads, 0, run);
}

template <class Element>
void LaunchPackTaps(const InvertedResidualPlaces& places, const DeviceWeights& weights, int64_t expanded,
                    std::byte* packed, const CudaRun& run) {
  using Kernel = PackTapsKernel<Element>;
  typename Kernel::Args args = {};
  args.weight = static_cast<const Element*>(weights.weight);
  args.bias = static_cast<const Element*>(weights.bias);
  args.taps = reinterpret_cast<float*>(packed + places.taps);
  args.expanded = Narrowed(expanded);
  args.channels = Narrowed(places.channels);
  args.elements = 10 * places.channels;
  LaunchBlocks<Kernel>(args, DivideUp(args.elements, Kernel::kThreads), Kernel::kThreads, 0, run);
}

template <class Element>
void Pack(const LinearShape& shape, const DeviceWeights& weights, std::byte* packed, const CudaRun& run) {
  LaunchPackMatrix<Element>(LinearPacking<Element>::Places(shape), weights, packed, run);
}

template <class Element>
void Pack(const Conv3x3Shape& shape, const DeviceWeights& weights, std::byte* packed, const CudaRun& run) {
  LaunchPackMatrix<Element>(ConvPacking<Element>::Places(shape), weights, packed, run);
}

template <class Element>
void Pack(const InvertedResidualShape& shape, const DeviceInvertedResidualWeights& weights, std::byte* packed,
          const CudaRun& run) {
  const InvertedResidualPlaces places = InvertedResidualPacking<Element>::Places(shape);
  LaunchPackMatrix<Element>(places.expand, weights.expand, packed, run);
  LaunchPackMatrix<Element>(places.project, weights.project, packed, run);
  LaunchPackTaps<Element>(places, weights.depthwise, shape.expanded, packed, run);
}

template <class Shape, class Weights>
void PackAs(DType element, const Shape& shape, const Weights& weights, void* packed, const CudaRun& run) {
  auto* bytes = static_cast<std::byte*>(packed);
  switch (element) {
    case DType::kF16:
      return Pack<Half>(shape, weights, bytes, run);
    case DType::kBf16:
      return Pack<Bf16>(shape, weights, bytes, run);
    case DType::kF32:
      return Pack<float>(shape, weights, bytes, run);
  }
}

}  // namespace
}  // namespace cuda

void PackOnDevice(DType element, const LinearShape& shape, const DeviceWeights& weights, void* packed,
                  const CudaRun& run) {
  cuda::PackAs(element, shape, weights, packed, run);
}

void PackOnDevice(DType element, const Conv3x3Shape& shape, const DeviceWeights& weights, void* packed,
                  const CudaRun& run) {
  cuda::PackAs(element, shape, weights, packed, run);
}

void PackOnDevice(DType element, const InvertedResidualShape& shape,
                  const DeviceInvertedResidualWeights& weights, void* packed, const CudaRun& run) {
  cuda::PackAs(element, shape, weights, packed, run);
}

}  // namespace mvf

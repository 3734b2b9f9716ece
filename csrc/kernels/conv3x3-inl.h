// Dense 3x3 convolution by the algorithm that its shape names.
#pragma once

namespace mvf {
namespace {

// What kWinograd4 stands for: its transforms lose more digits than sixteen bits have to give.
template <class Dot>
constexpr int kLargeTile = sizeof(typename Dot::Element) == sizeof(float) ? 4 : 2;

// The algorithm that runs: where whole tiles are multiplied, Winograd's transforms take longer than what they
// save.
template <class Dot>
ConvAlgorithm AlgorithmFor(const Conv3x3Shape& shape) {
  return TileRegisters<Dot>::kExist ? ConvAlgorithm::kDirect : shape.algorithm;
}

template <class Dot>
size_t Conv3x3PackedBytes(const Conv3x3Shape& shape) {
  switch (AlgorithmFor<Dot>(shape)) {
    case ConvAlgorithm::kWinograd2:
      return WinogradPackedBytes<Dot, 2>(shape);
    case ConvAlgorithm::kWinograd4:
      return WinogradPackedBytes<Dot, kLargeTile<Dot>>(shape);
    case ConvAlgorithm::kDirect:
      break;
  }
  return DirectPackedBytes<Dot>(shape);
}

template <class Dot>
void Conv3x3Pack(const Conv3x3Shape& shape, const Conv3x3Weights& weights, void* packed) {
  switch (AlgorithmFor<Dot>(shape)) {
    case ConvAlgorithm::kWinograd2:
      return WinogradPack<Dot, 2>(shape, weights, packed);
    case ConvAlgorithm::kWinograd4:
      return WinogradPack<Dot, kLargeTile<Dot>>(shape, weights, packed);
    case ConvAlgorithm::kDirect:
      return DirectPack<Dot>(shape, weights, packed);
  }
}

template <class Dot>
size_t Conv3x3ScratchBytes(const Conv3x3Args& args) {
  switch (AlgorithmFor<Dot>(args.shape)) {
    case ConvAlgorithm::kWinograd2:
      return WinogradScratchBytes<Dot, 2>(args);
    case ConvAlgorithm::kWinograd4:
      return WinogradScratchBytes<Dot, kLargeTile<Dot>>(args);
    case ConvAlgorithm::kDirect:
      break;
  }
  return DirectScratchBytes<Dot>(args.shape, args.output);
}

template <class Dot>
void Conv3x3Run(const Conv3x3Args& args, Range rows, void* scratch) {
  switch (AlgorithmFor<Dot>(args.shape)) {
    case ConvAlgorithm::kWinograd2:
      return WinogradRun<Dot, 2>(args, rows, scratch);
    case ConvAlgorithm::kWinograd4:
      return WinogradRun<Dot, kLargeTile<Dot>>(args, rows, scratch);
    case ConvAlgorithm::kDirect:
      return DirectRun<Dot>(args, rows, scratch);
  }
}

}  // namespace
}  // namespace mvf

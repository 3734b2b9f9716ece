#include "engine/peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/memory.h"
#include "kernels/int8_kernels.h"

namespace mvf {
namespace {

constexpr int64_t kRows = 2048, kIn = 256, kOut = 240;

// Packs the weights, then runs the product again and again. `input_element` and `output_element` are sizes.
template <class Packing, class Kernel, class Weights, class Args>
double BestRate(const Packing& packing, const Kernel& kernel, const Weights& weights, size_t input_element,
                size_t output_element, double seconds, Args args) {
  using Clock = std::chrono::steady_clock;
  args.shape.in = kIn;
  args.shape.out = kOut;
  args.rows = kRows;
  const AlignedBuffer packed(packing.packed_bytes(args.shape), "packed weights");
  packing.pack(args.shape, weights, packed.data());
  const AlignedBuffer input(kRows * kIn * input_element, "rows");
  std::memset(input.data(), 0, kRows * kIn * input_element);
  const AlignedBuffer output(kRows * kOut * output_element, "products");
  args.packed = packed.data();
  args.input = input.data();
  args.input_stride = kIn;
  args.output = output.data();
  args.output_stride = kOut;
  const AlignedBuffer scratch(kernel.scratch_bytes(args), "scratch");

  double best = seconds;
  const auto started = Clock::now();
  const auto since = [](Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  };
  do {
    const auto turn = Clock::now();
    kernel.run(args, {0, kRows}, scratch.data());
    best = std::min(best, since(turn));
  } while (since(started) < seconds);
  return static_cast<double>(kRows * kIn * kOut) / best;
}

}  // namespace

double MeasurePeak(const KernelTable& table, double seconds) {
  const std::vector<float> weight(kIn * kOut, 0.5f);
  const size_t element = SizeOf(table.element);
  return BestRate(table.linear_packing, table.linear, LinearWeights{weight.data(), nullptr}, element, element,
                  seconds, LinearArgs{});
}

double MeasureInt8Peak(const KernelTable& table, double seconds) {
  const std::vector<int8_t> weight(kIn * kOut, 1);
  const std::vector<float> ones(kOut, 1.0f);
  Int8LinearWeights weights;
  weights.weights.weight = weight.data();
  weights.requantization = {ones.data(), ones.data(), nullptr};
  return BestRate(table.int8->linear_packing, table.int8->linear, weights, 1, 1, seconds, Int8LinearArgs{});
}

}  // namespace mvf

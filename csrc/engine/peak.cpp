#include "engine/peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/memory.h"

namespace mvf {

double MeasurePeak(const KernelTable& table, double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kRows = 2048, kIn = 256, kOut = 240;
  LinearArgs args;
  args.shape.in = kIn;
  args.shape.out = kOut;
  args.rows = kRows;
  const std::vector<float> weight(kIn * kOut, 0.5f);
  const AlignedBuffer packed(table.linear_packing.packed_bytes(args.shape), "packed weights");
  table.linear_packing.pack(args.shape, {weight.data(), nullptr}, packed.data());
  const AlignedBuffer input(kRows * kIn * SizeOf(table.element), "rows");
  std::memset(input.data(), 0, kRows * kIn * SizeOf(table.element));
  const AlignedBuffer output(kRows * kOut * SizeOf(table.element), "products");
  args.packed = packed.data();
  args.input = input.data();
  args.input_stride = kIn;
  args.output = output.data();
  args.output_stride = kOut;
  const AlignedBuffer scratch(table.linear.scratch_bytes(args), "scratch");

  double best = seconds;
  const auto started = Clock::now();
  const auto since = [](Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  };
  do {
    const auto turn = Clock::now();
    table.linear.run(args, {0, kRows}, scratch.data());
    best = std::min(best, since(turn));
  } while (since(started) < seconds);
  return static_cast<double>(kRows * kIn * kOut) / best;
}

}  // namespace mvf

// The 8-bit arithmetic as plain loops, and the bytes that it is tried on.
#pragma once

#include <functional>
#include <random>
#include <vector>

#include "kernels/int8_kernels.h"

namespace mvf_test {

using Bytes = std::vector<uint8_t>;
using Weights = std::vector<int8_t>;

// How test data is drawn: at random, or so that sums grow as large as they can.
enum class Draw { kRandom, kLargest, kSmallest };
constexpr Draw kDraws[] = {Draw::kRandom, Draw::kLargest, Draw::kSmallest};

class Random {
 public:
  Bytes MakeBytes(int64_t count, Draw draw);
  Weights MakeWeights(int64_t count, Draw draw);
  std::vector<float> MakeFloats(int64_t count, float low, float high);
  std::vector<int32_t> MakeInts(int64_t count, int32_t low, int32_t high);

 private:
  std::mt19937 generator_{7};
};

// Multipliers and offsets that spread the sums of K products over the bytes, and a table.
struct PlainRequantization {
  std::vector<float> multiplier;
  std::vector<float> offset;
  Bytes table;

  PlainRequantization(Random& random, int64_t columns, int64_t k, bool with_table);
  mvf::Requantization Get() const;
  uint8_t Apply(int32_t sum, int64_t column) const;
};

// clamp(round(fma(value, 1 / scale, zero)), 0, 255); a NaN is 255.
uint8_t PlainQuantize(float value, float scale, int32_t zero);

// sum_k (a[k] - zero) * w[k]
int64_t PlainDot(const uint8_t* a, const int8_t* w, int64_t k, int64_t zero);

// A map whose pixels and rows have bytes behind them that no kernel may change.
class GappedBytes {
 public:
  GappedBytes(int64_t height, int64_t width, int64_t channels);
  GappedBytes(int64_t height, int64_t width, const Bytes& dense, int64_t channels);
  const mvf::Map& map() const { return map_; }
  Bytes Dense() const;
  bool GapsAreWhole() const;

 private:
  static constexpr uint8_t kGap = 0xa5;
  Bytes bytes_;
  mvf::Map map_;
};

// Memory of exactly that many bytes, aligned, filled with what no kernel may read.
class ExactMemory {
 public:
  explicit ExactMemory(size_t bytes);
  ~ExactMemory();
  ExactMemory(const ExactMemory&) = delete;
  ExactMemory& operator=(const ExactMemory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

// Runs work units [0, units) as `parts` threads would, one after another.
template <class Args>
void RunUnits(const mvf::Kernel<Args>& kernel, const Args& args, int64_t units, int parts) {
  for (int64_t part = 0; part < parts; ++part) {
    const ExactMemory scratch(kernel.scratch_bytes(args));
    const mvf::Range range = {units * part / parts, units * (part + 1) / parts};
    if (range.begin < range.end) kernel.run(args, range, scratch.data());
  }
}

template <class Shape, class Weights, class Args>
void RunPacked(const mvf::Packing<Shape, Weights>& packing, const mvf::Kernel<Args>& kernel, Args args,
               const Weights& weights, int64_t units, int parts) {
  const ExactMemory packed(packing.packed_bytes(args.shape));
  packing.pack(args.shape, weights, packed.data());
  args.packed = packed.data();
  RunUnits(kernel, args, units, parts);
}

// Calls run(kernels, parts) for every table that this machine has, whole and in parts, and says which one
// failed.
void ForEachInt8Table(const std::function<void(const mvf::Int8Kernels&, int)>& run);

}  // namespace mvf_test

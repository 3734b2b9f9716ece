// What the tests of the device's kernels share: a batch in the device's element type, run under every
// schedule of the emulator, beside plain loops in double on the same numbers.
#pragma once

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "base/half.h"
#include "check.h"
#include "cuda/cuda_table.h"
#include "cuda_runs.h"
#include "plain_table.h"

namespace mvf_test {

using namespace mvf;

// One spacing of numbers around 1, halved.
template <class Element>
constexpr float kRounding = 0;
template <>
inline constexpr float kRounding<float> = 1.0f / (1 << 24);
template <>
inline constexpr float kRounding<Half> = 1.0f / (1 << 11);
template <>
inline constexpr float kRounding<Tf32> = 1.0f / (1 << 11);
template <>
inline constexpr float kRounding<Bf16> = 1.0f / (1 << 8);

template <class Element>
const CudaTable& TableOf();
template <>
inline const CudaTable& TableOf<float>() {
  return CudaTableF32();
}
template <>
inline const CudaTable& TableOf<Half>() {
  return CudaTableF16();
}
template <>
inline const CudaTable& TableOf<Tf32>() {
  return CudaTableTf32();
}
template <>
inline const CudaTable& TableOf<Bf16>() {
  return CudaTableBf16();
}

// How many roundings of Element a test allows: sums round in float only, so few of a shorter type.
template <class Element>
constexpr double Roundings(double of_float, double of_short) {
  return std::is_same_v<Element, float> ? of_float : of_short;
}

class Random {
 public:
  // Numbers that Element has, from -1 to 1.
  template <class Element>
  std::vector<float> Make(int64_t count, float scale = 1.0f) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = ToFloat(RoundTo<Element>(scale * distribution_(generator_)));
    return values;
  }

 private:
  std::mt19937 generator_{7};
  std::uniform_real_distribution<float> distribution_{-1, 1};
};

template <class Element>
std::vector<Element> RoundAll(const std::vector<float>& values) {
  std::vector<Element> rounded;
  rounded.reserve(values.size());
  for (float value : values) rounded.push_back(RoundTo<Element>(value));
  return rounded;
}

template <class Element>
std::vector<float> WidenAll(const std::vector<Element>& values) {
  std::vector<float> widened;
  widened.reserve(values.size());
  for (Element value : values) widened.push_back(ToFloat(value));
  return widened;
}

template <class Element>
std::vector<Element> Unwritten(int64_t count) {
  return std::vector<Element>(static_cast<size_t>(count),
                              RoundTo<Element>(std::numeric_limits<float>::quiet_NaN()));
}

// Calls launch(output) under every schedule with an output that begins as `initial`; all must leave the same
// bits. Returns them.
template <class Output, class Launch>
std::vector<float> RunSchedules(const std::vector<Output>& initial, Launch&& launch) {
  std::vector<float> first;
  ForEachSchedule([&] {
    std::vector<Output> output = initial;
    launch(output.data());
    const std::vector<float> values = WidenAll(output);
    for (float value : values) CHECK(!std::isnan(value));
    if (first.empty()) first = values;
    CHECK(values == first);
  });
  return first;
}

// No element may be further off than `roundings` roundings of Element at the size of the largest.
template <class Element>
void CheckClose(const std::vector<float>& actual, const std::vector<float>& expected, double roundings,
                const std::string& what) {
  CHECK_EQUAL(actual.size(), expected.size());
  double largest = 0, worst = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    largest = std::fmax(largest, std::fabs(expected[i]));
    worst = std::fmax(worst, std::fabs(static_cast<double>(actual[i]) - expected[i]));
  }
  const double error = worst / (largest * kRounding<Element>);
  if (!(error <= roundings)) {
    Fail(__FILE__, __LINE__,
         what + " in " + TableOf<Element>().name + " is " + std::to_string(error) + " roundings off");
  }
}

}  // namespace mvf_test

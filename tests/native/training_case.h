// What tests of training kernels have in common.
#pragma once

#include <limits>
#include <vector>

#include "check.h"
#include "engine/training_work.h"
#include "exact_run.h"
#include "kernels/dispatch.h"
#include "sample_plan.h"

namespace mvf_test {

constexpr double kTolerance = 5e-5;

template <class Check>
void ForEachTable(Check check) {
  for (const mvf::KernelTable* table : mvf::RunnableTables()) {
    for (int parts : {1, 3}) check(*table, *table->training, parts);
  }
}

inline std::vector<float> ToFloat(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

inline std::vector<float> Unwritten(int64_t count) {
  return std::vector<float>(static_cast<size_t>(count), std::numeric_limits<float>::quiet_NaN());
}

// Sums in parts of the rows [begins[i], begins[i + 1]) of first(row, channel, part's first row) and second.
template <class First, class Second>
std::vector<float> Sums(const std::vector<int64_t>& begins, int64_t channels, First first, Second second) {
  std::vector<float> sums;
  for (size_t part = 0; part + 1 < begins.size(); ++part) {
    for (int row = 0; row < 2; ++row) {
      for (int64_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (int64_t m = begins[part]; m < begins[part + 1]; ++m) {
          sum += row == 0 ? first(m, c, begins[part]) : second(m, c, begins[part]);
        }
        sums.push_back(static_cast<float>(sum));
      }
    }
  }
  return sums;
}

inline std::vector<int64_t> ChunkBegins(int64_t rows) {
  std::vector<int64_t> begins;
  for (int64_t first = 0; first < rows; first += mvf::kChannelSumRows) begins.push_back(first);
  begins.push_back(rows);
  return begins;
}

}  // namespace mvf_test

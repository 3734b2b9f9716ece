// Runs a kernel in buffers of exactly the sizes that the contract names: under AddressSanitizer one that
// reaches an element too far is found.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "check.h"
#include "engine/work.h"
#include "kernels/kernel_table.h"

namespace mvf_test {

// Memory of exactly that many bytes, aligned, filled with what no kernel may read.
class ExactBuffer {
 public:
  explicit ExactBuffer(size_t bytes) {
    if (posix_memalign(&data_, mvf::kAlignment, bytes) != 0) throw std::bad_alloc();
    std::fill_n(static_cast<float*>(data_), bytes / sizeof(float), std::numeric_limits<float>::quiet_NaN());
  }
  ~ExactBuffer() { std::free(data_); }
  ExactBuffer(const ExactBuffer&) = delete;
  ExactBuffer& operator=(const ExactBuffer&) = delete;

  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

// Runs a kernel as `parts` threads would, one after another.
template <class Args>
void RunParts(const mvf::Kernel<Args>& kernel, const Args& args, int parts) {
  for (int part = 0; part < parts; ++part) {
    const ExactBuffer scratch(kernel.scratch_bytes(args));
    const mvf::Range share = ShareOf(WorkOf(args), part, parts);
    if (share.begin < share.end) kernel.run(args, share, scratch.data());
  }
}

inline void CheckClose(const mvf::KernelTable& table, const std::string& what,
                       const std::vector<float>& actual, const std::vector<float>& expected, double tolerance,
                       double at_least = 1e-6) {
  double largest = at_least;
  for (float value : expected) largest = std::max(largest, std::fabs(static_cast<double>(value)));
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!(std::fabs(static_cast<double>(actual[i]) - expected[i]) <= tolerance * largest)) {
      Fail(__FILE__, __LINE__,
           std::string(table.name) + " " + what + ": element " + std::to_string(i) + " is " +
               std::to_string(actual[i]) + ", expected " + std::to_string(expected[i]));
    }
  }
}

}  // namespace mvf_test

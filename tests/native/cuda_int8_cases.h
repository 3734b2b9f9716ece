// What the tests of the device's 8-bit kernels share. They are compared with the plain C++ kernels of the
// CPU, whose own tests hold them against plain loops; every bit must be equal.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/cuda_table.h"
#include "cuda_runs.h"
#include "engine/pack.h"
#include "kernels/dispatch.h"
#include "plain_int8.h"

namespace mvf_test {

inline const mvf::Int8Kernels& HostInt8() { return *mvf::ScalarTable()->int8; }
inline const mvf::CudaInt8Kernels& DeviceInt8() { return *mvf::CudaTableInt8().int8; }

template <class Number>
void CheckSame(const std::vector<Number>& actual, const std::vector<Number>& expected,
               const std::string& what) {
  CHECK_EQUAL(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::memcmp(&actual[i], &expected[i], sizeof(Number)) == 0) continue;
    Fail(__FILE__, __LINE__,
         what + ": element " + std::to_string(i) + " is " + std::to_string(actual[i]) + ", expected " +
             std::to_string(expected[i]));
  }
}

// launch(output) under every schedule, with an output that begins as `initial`.
template <class Number, class Launch>
void CheckSchedules(const std::vector<Number>& initial, const std::vector<Number>& expected,
                    const std::string& what, Launch&& launch) {
  ForEachSchedule([&] {
    std::vector<Number> output = initial;
    launch(output.data());
    CheckSame(output, expected, what);
  });
}

template <class Args>
void RunHost(const mvf::Kernel<Args>& kernel, const Args& args, int64_t units) {
  RunUnits(kernel, args, units, 1);
}

}  // namespace mvf_test

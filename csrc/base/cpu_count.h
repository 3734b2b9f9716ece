// How many threads are worth running: cores that this process may use, within its control group's quota.
#pragma once

#include <string>

namespace mvf {

constexpr int kMaxThreads = 512;

// Cores in the affinity mask (hardware threads of one core count once: they share its multipliers), at most
// the control group's CPU quota rounded up, at least 1.
int DefaultThreads();

// The quota in CPUs of this process's control groups, version 1 or 2, or 0 where there is none.
// `root` stands for "/": tests give another tree.
double CgroupCpuQuota(const std::string& root);

}  // namespace mvf

// What this CPU and its operating system let a program use.
#pragma once

#include <string_view>
#include <vector>

namespace mvf {

struct CpuFeature {
  std::string_view name;  // such as "avx2" or "avx512bw"
  bool usable;            // by the CPU, and its registers are saved by the operating system
};

// Every feature that a kernel table may ask for on this architecture, detected once.
const std::vector<CpuFeature>& CpuFeatures();

// False for a name that this architecture does not have.
bool CpuHas(std::string_view name);

}  // namespace mvf

#include "kernels/dispatch.h"

#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "base/isa.h"

namespace mvf {
namespace {

constexpr const char* kCapVariable = "MOBILEVIT_FAST_ISA";

struct Candidate {
  std::string_view name;
  const KernelTable* (*table)();
  std::vector<std::string_view> needs;  // CPU features
};

// Slowest first: a cap takes away what follows it.
const std::vector<Candidate>& Candidates() {
  static const std::vector<Candidate> candidates = {
    {"scalar", ScalarTable, {}},
#if defined(MVF_HAS_AVX2)
    {"avx2", Avx2Table, {"avx2", "fma", "f16c"}},
#endif
#if defined(MVF_HAS_AVX512)
    {"avx512", Avx512Table, {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"}},
#endif
  };
  return candidates;
}

std::string AllNames() {
  std::string names;
  for (const Candidate& candidate : Candidates()) {
    if (!names.empty()) names += ", ";
    names += candidate.name;
  }
  return names;
}

size_t PositionOf(std::string_view name, const std::string& given_as) {
  const std::vector<Candidate>& candidates = Candidates();
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].name == name) return i;
  }
  throw std::invalid_argument(given_as + " is not an ISA of this build; it has " + AllNames());
}

// How many candidates, from the slowest, the environment allows.
size_t AllowedCount() {
  const char* cap = std::getenv(kCapVariable);
  if (!cap || !*cap) return Candidates().size();
  return PositionOf(cap, std::string(kCapVariable) + "='" + cap + "'") + 1;
}

std::string MissingFeature(const Candidate& candidate) {
  for (std::string_view feature : candidate.needs) {
    if (!CpuHas(feature)) return std::string(feature);
  }
  return {};
}

}  // namespace

std::vector<const KernelTable*> RunnableTables() {
  std::vector<const KernelTable*> tables;
  const size_t allowed = AllowedCount();
  for (size_t i = 0; i < allowed; ++i) {
    if (MissingFeature(Candidates()[i]).empty()) tables.push_back(Candidates()[i].table());
  }
  return tables;
}

const KernelTable& BestTable() { return *RunnableTables().back(); }

const KernelTable& TableByName(const std::string& name) {
  const size_t position = PositionOf(name, "isa='" + name + "'");
  const Candidate& candidate = Candidates()[position];
  const std::string missing = MissingFeature(candidate);
  if (!missing.empty()) {
    throw std::invalid_argument("isa='" + name + "' cannot run on this CPU, which lacks " + missing +
                                "; use isa=None for the best that it has");
  }
  if (position >= AllowedCount()) {
    throw std::invalid_argument("isa='" + name + "' is above the cap " + kCapVariable + "='" +
                                std::getenv(kCapVariable) + "'; raise or unset that variable");
  }
  return *candidate.table();
}

}  // namespace mvf

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
  DType element;
  const KernelTable* (*table)();
  std::vector<std::string_view> needs;  // CPU features
};

// Slowest first: a cap takes away what follows it.
const std::vector<Candidate>& Candidates() {
  static const std::vector<Candidate> candidates = {
#if defined(MVF_HAS_SCALAR)
    {"scalar", DType::kF32, ScalarTable, {}},
#endif
#if defined(MVF_HAS_AVX2)
    {"avx2", DType::kF32, Avx2Table, {"avx2", "fma", "f16c"}},
#endif
#if defined(MVF_HAS_AVX_VNNI)
    {"avx_vnni", DType::kF32, AvxVnniTable, {"avx2", "fma", "f16c", "avx_vnni"}},
#endif
#if defined(MVF_HAS_AVX512)
    {"avx512", DType::kF32, Avx512Table, {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"}},
#endif
#if defined(MVF_HAS_AVX512_CASCADELAKE)
    {"avx512_cascadelake",
     DType::kF32,
     Avx512CascadelakeTable,
     {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma", "avx512_vnni"}},
#endif
#if defined(MVF_HAS_AVX512_VNNI)
    {"avx512_vnni",
     DType::kF32,
     Avx512VnniTable,
     {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma", "avx512_vnni", "avx512_vbmi", "avx512_vbmi2"}},
#endif
#if defined(MVF_HAS_AVX512_BF16)
    {"avx512_bf16",
     DType::kBf16,
     Avx512Bf16Table,
     {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma", "avx512_bf16"}},
#endif
#if defined(MVF_HAS_AMX_BF16)
    {"amx_bf16",
     DType::kBf16,
     AmxBf16Table,
     {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma", "avx512_bf16", "amx_tile", "amx_bf16"}},
#endif
#if defined(MVF_HAS_AMX_INT8)
    {"amx_int8",
     DType::kF32,
     AmxInt8Table,
     {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma", "avx512_vnni", "avx512_vbmi", "avx512_vbmi2",
      "amx_tile", "amx_int8"}},
#endif
#if defined(MVF_HAS_NEON)
    {"neon", DType::kF32, NeonTable, {"neon"}},
#endif
#if defined(MVF_HAS_NEON_FP16)
    {"neon_fp16", DType::kF16, NeonFp16Table, {"neon", "fp16"}},
#endif
#if defined(MVF_HAS_NEON_DOTPROD)
    {"neon_dotprod", DType::kF32, NeonDotprodTable, {"neon", "dotprod"}},
#endif
#if defined(MVF_HAS_NEON_I8MM)
    {"neon_i8mm", DType::kF32, NeonI8mmTable, {"neon", "dotprod", "i8mm"}},
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

const char* NameOf(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return "fp32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kFp16:
      return "fp16";
    case Precision::kInt8:
      return "int8";
  }
  return "unknown";
}

const char* NameOf(DType element) {
  if (element == DType::kBf16) return "bf16";
  return element == DType::kF16 ? "fp16" : "fp32";
}

bool Serves(const KernelTable& table, Precision precision) {
  return precision != Precision::kInt8 || table.int8 != nullptr;
}

std::string MissingFeature(const Candidate& candidate) {
  for (std::string_view feature : candidate.needs) {
    if (!CpuHas(feature)) return std::string(feature);
  }
  return {};
}

}  // namespace

std::vector<const KernelTable*> RunnableTables(Precision precision) {
  std::vector<const KernelTable*> tables;
  const size_t allowed = AllowedCount();
  for (size_t i = 0; i < allowed; ++i) {
    const Candidate& candidate = Candidates()[i];
    if (candidate.element != ElementOf(precision) || !MissingFeature(candidate).empty()) continue;
    if (Serves(*candidate.table(), precision)) tables.push_back(candidate.table());
  }
  return tables;
}

const KernelTable& BestTable(Precision precision) {
  const std::vector<const KernelTable*> tables = RunnableTables(precision);
  if (!tables.empty()) return *tables.back();
  std::string reasons;
  for (const Candidate& candidate : Candidates()) {
    if (candidate.element != ElementOf(precision)) continue;
    const std::string missing = MissingFeature(candidate);
    reasons += "; " + std::string(candidate.name) + " " +
               (missing.empty() ? "is above the cap " + std::string(kCapVariable) : "needs " + missing);
  }
  throw std::invalid_argument(std::string("no kernels for ") + NameOf(precision) + " can run here" +
                              (reasons.empty() ? "; this build has none" : reasons) +
                              "; use precision='fp32'");
}

const KernelTable& TableByName(const std::string& name, Precision precision) {
  const size_t position = PositionOf(name, "isa='" + name + "'");
  const Candidate& candidate = Candidates()[position];
  if (candidate.element != ElementOf(precision)) {
    throw std::invalid_argument("isa='" + name + "' computes in " + NameOf(candidate.element) + ", not in " +
                                NameOf(precision) + "; use isa=None for the best that fits");
  }
  const std::string missing = MissingFeature(candidate);
  if (!missing.empty()) {
    throw std::invalid_argument("isa='" + name + "' cannot run on this CPU, which lacks " + missing +
                                "; use isa=None for the best that it has");
  }
  if (position >= AllowedCount()) {
    throw std::invalid_argument("isa='" + name + "' is above the cap " + kCapVariable + "='" +
                                std::getenv(kCapVariable) + "'; raise or unset that variable");
  }
  const KernelTable& table = *candidate.table();
  if (!Serves(table, precision)) {
    throw std::invalid_argument("isa='" + name + "' has no kernels for " + NameOf(precision) +
                                "; use isa=None for the best that has");
  }
  return table;
}

}  // namespace mvf

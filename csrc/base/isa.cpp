#include "base/isa.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace mvf {
namespace {

#if defined(__x86_64__)

enum Register { kEax, kEbx, kEcx, kEdx };

// Which register state the operating system must save (bits of XCR0): xmm and ymm; with opmasks and zmm; with
// tiles and their shapes.
constexpr uint64_t kYmmState = 0x06;
constexpr uint64_t kZmmState = 0xe6;
constexpr uint64_t kTileState = 0x600e6;

struct FeatureBit {
  std::string_view name;
  unsigned leaf;
  unsigned subleaf;
  Register in;
  int bit;
  uint64_t state;
};

// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CPUID.
constexpr FeatureBit kFeatureBits[] = {
    {"avx2", 7, 0, kEbx, 5, kYmmState},         {"fma", 1, 0, kEcx, 12, kYmmState},
    {"f16c", 1, 0, kEcx, 29, kYmmState},        {"avx_vnni", 7, 1, kEax, 4, kYmmState},
    {"avx512f", 7, 0, kEbx, 16, kZmmState},     {"avx512bw", 7, 0, kEbx, 30, kZmmState},
    {"avx512dq", 7, 0, kEbx, 17, kZmmState},    {"avx512vl", 7, 0, kEbx, 31, kZmmState},
    {"avx512_vbmi", 7, 0, kEcx, 1, kZmmState},  {"avx512_vbmi2", 7, 0, kEcx, 6, kZmmState},
    {"avx512_vnni", 7, 0, kEcx, 11, kZmmState}, {"avx512_bf16", 7, 1, kEax, 5, kZmmState},
    {"amx_tile", 7, 0, kEdx, 24, kTileState},   {"amx_bf16", 7, 0, kEdx, 22, kTileState},
    {"amx_int8", 7, 0, kEdx, 25, kTileState},
};

uint64_t SavedRegisterState() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kOsXsave = 1u << 27;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & kOsXsave)) return 0;
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// Linux has a process ask before it uses tiles, whose state makes every thread's larger.
// https://docs.kernel.org/arch/x86/xstate.html
bool TilesAreGranted() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

bool Usable(const FeatureBit& feature, uint64_t saved) {
  unsigned registers[4] = {};
  if (!__get_cpuid_count(feature.leaf, feature.subleaf, &registers[kEax], &registers[kEbx], &registers[kEcx],
                         &registers[kEdx])) {
    return false;
  }
  if (!(registers[feature.in] >> feature.bit & 1) || (saved & feature.state) != feature.state) return false;
  return feature.state != kTileState || TilesAreGranted();
}

std::vector<CpuFeature> Detect() {
  const uint64_t saved = SavedRegisterState();
  std::vector<CpuFeature> features;
  for (const FeatureBit& bit : kFeatureBits) features.push_back({bit.name, Usable(bit, saved)});
  return features;
}

#elif defined(__aarch64__)

// Arm Architecture Reference Manual: every 64-bit processor has NEON, the others are optional.
#if defined(__linux__)
// Bits of Linux's HWCAP and HWCAP2, which headers older than the kernel lack.
bool HasFp16() { return (getauxval(AT_HWCAP) >> 9 & 3) == 3; }  // FPHP and ASIMDHP
bool HasDotprod() { return getauxval(AT_HWCAP) >> 20 & 1; }
bool HasI8mm() { return getauxval(AT_HWCAP2) >> 13 & 1; }
#elif defined(__APPLE__)
bool SystemHas(const char* name) {
  int value = 0;
  size_t size = sizeof(value);
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
bool HasFp16() { return SystemHas("hw.optional.arm.FEAT_FP16"); }
bool HasDotprod() { return SystemHas("hw.optional.arm.FEAT_DotProd"); }
bool HasI8mm() { return SystemHas("hw.optional.arm.FEAT_I8MM"); }
#else
bool HasFp16() { return false; }
bool HasDotprod() { return false; }
bool HasI8mm() { return false; }
#endif

std::vector<CpuFeature> Detect() {
  return {{"neon", true}, {"fp16", HasFp16()}, {"dotprod", HasDotprod()}, {"i8mm", HasI8mm()}};
}

#else

std::vector<CpuFeature> Detect() { return {}; }

#endif

}  // namespace

const std::vector<CpuFeature>& CpuFeatures() {
  static const std::vector<CpuFeature> features = Detect();
  return features;
}

bool CpuHas(std::string_view name) {
  for (const CpuFeature& feature : CpuFeatures()) {
    if (feature.name == name) return feature.usable;
  }
  return false;
}

}  // namespace mvf

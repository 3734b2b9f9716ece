// SiLU on vectors, and integer arithmetic that needs no library.
#pragma once

// The including file has chosen the vector type.

namespace mvf {
namespace {

#define MVF_INLINE inline __attribute__((always_inline))

constexpr float kLog2E = 1.44269504f;

// x / (1 + exp(-x))
MVF_INLINE Vec Silu(Vec x) { return OverOnePlusExp2(x, Mul(x, Vec::Set(-kLog2E))); }

// An activation that kernels use between themselves: x / (1 + 2^x) = -log2(e) * silu(-x / log2(e)). Where the
// weights before and behind it carry the factors, silu is spared a multiplication.
constexpr Activation kScaledSilu = Activation{2};

template <Activation kActivation>
MVF_INLINE Vec Activate(Vec x) {
  if constexpr (kActivation == Activation::kSilu) return Silu(x);
  if constexpr (kActivation == kScaledSilu) return OverOnePlusExp2(x, x);
  return x;
}

// A number that the compiler knows.
template <int64_t kValue>
struct Fixed {
  constexpr operator int64_t() const { return kValue; }
};

constexpr int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t Max(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

}  // namespace
}  // namespace mvf

// exp and SiLU on vectors: a short polynomial for 2^f on [0, 1) and an exact scaling by the exponent.
#pragma once

// The including file has chosen the vector type.

namespace mvf {
namespace {

#define MVF_INLINE inline __attribute__((always_inline))

constexpr float kLog2E = 1.44269504f;

// 2^t, relative error at most 3e-7 (degree 5, minimax on [0, 1)).
MVF_INLINE Vec Exp2(Vec t) {
  const Vec f = Fraction(t);
  Vec p = MulAdd(Vec::Set(1.8775767e-3f), f, Vec::Set(8.9893397e-3f));
  p = MulAdd(p, f, Vec::Set(5.5826318e-2f));
  p = MulAdd(p, f, Vec::Set(2.4015361e-1f));
  p = MulAdd(p, f, Vec::Set(6.9315308e-1f));
  p = MulAdd(p, f, Vec::Set(9.9999994e-1f));
  return ScaleByExp2(p, t);
}

MVF_INLINE Vec Exp(Vec x) { return Exp2(Mul(x, Vec::Set(kLog2E))); }

// x / (1 + exp(-x)); a true division is faster here than a reciprocal estimate with a Newton step.
MVF_INLINE Vec Silu(Vec x) { return Div(x, OnePlusExp2(Mul(x, Vec::Set(-kLog2E)))); }

// An activation that kernels use between themselves: x / (1 + 2^x) = -log2(e) * silu(-x / log2(e)). Where the
// weights before and behind it carry the factors, silu is spared a multiplication.
constexpr Activation kScaledSilu = Activation{2};

template <Activation kActivation>
MVF_INLINE Vec Activate(Vec x) {
  if constexpr (kActivation == Activation::kSilu) return Silu(x);
  if constexpr (kActivation == kScaledSilu) return Div(x, OnePlusExp2(x));
  return x;
}

constexpr int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t Max(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

}  // namespace
}  // namespace mvf

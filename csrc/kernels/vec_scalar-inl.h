// Four floats in plain C++: the table for a processor without one of its own.
#pragma once

#include <cmath>

#include "base/view.h"

namespace mvf {
namespace {

struct Vec {
  static constexpr int kLanes = 4;
  using Lane = float;
  // Element-wise arithmetic that GCC and clang compile for any processor.
  typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
  Lanes v;

  static Vec Zero() { return Set(0.0f); }
  static Vec Set(float x) { return {Lanes{x, x, x, x}}; }
  static Vec Load(const float* p) {
    Vec r;
    __builtin_memcpy(&r.v, p, sizeof(r.v));
    return r;
  }
  // The first n lanes (1 <= n <= kLanes) from memory, zeros behind them.
  static Vec LoadPartial(const float* p, int n) {
    Vec r = Zero();
    for (int i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  static Vec Load(const uint8_t* p) { return LoadPartial(p, kLanes); }
  static Vec LoadPartial(const uint8_t* p, int n) {
    Vec r = Zero();
    for (int i = 0; i < n; ++i) r.v[i] = static_cast<float>(p[i]);
    return r;
  }
  void Store(float* p) const { __builtin_memcpy(p, &v, sizeof(v)); }
  void StorePartial(float* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = v[i];
  }
  // Clamped to a byte and rounded to the nearest, halves to even.
  void Store(uint8_t* p) const { StorePartial(p, kLanes); }
  void StorePartial(uint8_t* p, int n) const {
    for (int i = 0; i < n; ++i) {
      const float limited = v[i] < 255.0f ? v[i] : 255.0f;
      p[i] = static_cast<uint8_t>(lrintf(limited > 0.0f ? limited : 0.0f));
    }
  }
};

// What norms and long sums are computed in; a Vec is made of Vec::kLanes / Floats::kLanes parts.
using Floats = Vec;
inline Floats Part(Vec v, int /*part*/) { return v; }
inline float ToLane(float x) { return x; }

template <class Function>
inline Vec ForEachLane(Function function) {
  return {Vec::Lanes{function(0), function(1), function(2), function(3)}};
}

inline Vec Add(Vec a, Vec b) { return {a.v + b.v}; }
inline Vec Sub(Vec a, Vec b) { return {a.v - b.v}; }
inline Vec Mul(Vec a, Vec b) { return {a.v * b.v}; }
inline Vec Div(Vec a, Vec b) { return {a.v / b.v}; }
inline Vec Min(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }
inline Vec Max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
inline Vec MulAdd(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }     // a * b + c
inline Vec MulSub(Vec a, Vec b, Vec c) { return {a.v * b.v - c.v}; }     // a * b - c
inline Vec NegMulAdd(Vec a, Vec b, Vec c) { return {c.v - a.v * b.v}; }  // c - a * b
inline float ReduceAdd(Vec a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
inline float ReduceMax(Vec a) {
  const float x = a.v[0] > a.v[1] ? a.v[0] : a.v[1];
  const float y = a.v[2] > a.v[3] ? a.v[2] : a.v[3];
  return x > y ? x : y;
}

inline Vec OnePlusExp2(Vec t) {
  return ForEachLane([&](int i) { return 1.0f + exp2f(t.v[i]); });
}
inline Vec Exp2OfNegative(Vec t) {
  return ForEachLane([&](int i) { return exp2f(t.v[i]); });
}

// x / (1 + 2^t); a true division is faster here than a reciprocal estimate with a Newton step.
inline Vec OverOnePlusExp2(Vec x, Vec t) { return Div(x, OnePlusExp2(t)); }

// rows[i] lane j <-> rows[j] lane i.
inline void Transpose(Vec rows[4]) {
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < i; ++j) {
      const float t = rows[i].v[j];
      rows[i].v[j] = rows[j].v[i];
      rows[j].v[i] = t;
    }
  }
}

// Vectors of columns in a panel: at most, and unless a matrix has fewer left.
constexpr int kMaxPanelVectors = 3;
constexpr int kPanelVectors = 3;

// Micro-kernel height for a panel of `vectors` vectors.
constexpr int TileRows(int vectors) { return vectors == 1 ? 8 : 4; }

// Channels of the values that attention weighs at once for two vectors of queries: even, and at most kLanes.
constexpr int kValueRows = 4;

// Pixels of a row that a depthwise convolution sums at once when it works on `rows` rows.
constexpr int DepthwisePixels(int /*rows*/) { return 2; }

}  // namespace
}  // namespace mvf

// Vectors of four floats for the NEON tables. Included once by each, before the loops.
#pragma once

#include "kernels/floats_neon-inl.h"

namespace mvf {
namespace {

using Vec = Floats;
inline Floats Part(Vec v, int /*part*/) { return v; }
inline float ToLane(float x) { return x; }

// x / (1 + 2^t); a true division is faster here than a reciprocal estimate with a Newton step.
inline Vec OverOnePlusExp2(Vec x, Vec t) { return Div(x, OnePlusExp2(t)); }

// Vectors of columns in a panel: at most, and unless a matrix has fewer left.
constexpr int kMaxPanelVectors = 3;
constexpr int kPanelVectors = 2;

// Micro-kernel height for a panel of `vectors` vectors: 32 registers hold rows * vectors accumulators, four
// units of each row and one row of the panel.
constexpr int TileRows(int vectors) { return vectors == 1 ? 12 : vectors == 2 ? 8 : 4; }

// Channels of the values that attention weighs at once for two vectors of queries: even, and at most kLanes.
constexpr int kValueRows = 4;

// Pixels of a row that a depthwise convolution sums at once when it works on `rows` rows.
constexpr int DepthwisePixels(int /*rows*/) { return 4; }

}  // namespace
}  // namespace mvf

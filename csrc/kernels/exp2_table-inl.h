// 2^t for vector types that can permute: t is rounded to a sixteenth, whose power of two comes from a table,
// and what is left, f, goes through the quadratic q * ((f + a)^2 + b), with q in the table and a whole number
// of sixteenths for a, so that adding it costs nothing. Relative error: at most 8e-7.
#pragma once

#include <cstdint>

namespace mvf {
namespace {

// |t| is limited to this: q * 2^t stays a normal number.
constexpr float kExp2Limit = 120.0f;
// 1.5 * 2^19: adding it leaves t in sixteenths in the low bits of the sum.
constexpr float kExp2Grid = 786432.0f;
constexpr float kExp2Shift = 1.4375f;     // a
constexpr float kExp2Square = 2.081034f;  // b
// The bits of q * 2^(i / 16), q = 0.24111252, less i << kExp2ExponentShift: adding the sum of grid and t,
// shifted by as much, puts that back and adds t's integer part to the exponent.
constexpr int kExp2ExponentShift = 19;
alignas(64) constexpr uint32_t kExp2Table[16] = {
    0x3e76e633, 0x3e78ea4a, 0x3e769f6d, 0x3e749540, 0x3e72cea2, 0x3e714e8f, 0x3e701827, 0x3e6f2eac,
    0x3e6e9588, 0x3e6e5049, 0x3e6e62a5, 0x3e6ed07d, 0x3e6f9dde, 0x3e70cf03, 0x3e726857, 0x3e746e77};

}  // namespace
}  // namespace mvf

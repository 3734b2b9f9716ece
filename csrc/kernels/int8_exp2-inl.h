// The weights of 8-bit attention: 2^-t in 8 bits, by integer arithmetic, so that every ISA agrees.
//
// A distance counts steps of 2^-kDistanceBits octaves below the largest score. With f its fraction in 16 bits
// and n its whole part, and a product of 16 bits keeping its upper half,
//   power  = (0x7fff - f * (kExp2Linear - f * kExp2Quadratic)) >> n
//   weight = power * kLargestWeight / 0x8000, rounded
// which is within 0.9 of kLargestWeight * 2^-t, and 0.31 in the mean square, where rounding alone costs 0.29.
#pragma once

#include <cstdint>

namespace mvf {
namespace {

constexpr int kDistanceBits = 11;
constexpr float kDistanceSteps = 2954.63944f;  // 2^kDistanceBits * log2(e)
constexpr int kDistanceLimit = 32767;          // where distances saturate; its weight is 0
constexpr int kExp2Linear = 22112;
constexpr int kExp2Quadratic = 5780;
constexpr int kLargestWeight = 255;

// The weight of a distance of at most kDistanceLimit.
constexpr uint32_t Int8Exp2(uint32_t distance) {
  const uint32_t fraction = distance << (16 - kDistanceBits) & 0xffff;
  uint32_t missing = fraction * kExp2Quadratic >> 16;
  missing = fraction * (kExp2Linear - missing) >> 16;
  const uint32_t power = (0x7fff - missing) >> (distance >> kDistanceBits);
  return ((power * kLargestWeight >> 14) + 1) >> 1;
}

// Values whose bytes are interleaved at once.
constexpr int kInterleaved = 16;

}  // namespace
}  // namespace mvf

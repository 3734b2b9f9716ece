// Conversions of short floats on the host, to the nearest value, ties to even; TF32's away from zero, as
// the device has it.
#pragma once

#include <cstring>

#include "base/view.h"

namespace mvf {

inline uint32_t BitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline float FloatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline float ToFloat(Half value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000) << 16;
  const uint32_t exponent = (value.bits >> 10) & 31, mantissa = value.bits & 1023;
  if (exponent == 31) return FloatOf(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return FloatOf(sign | (exponent + 112) << 23 | mantissa << 13);
  constexpr float kSmallest = 1.0f / (1 << 24);
  const float magnitude = static_cast<float>(mantissa) * kSmallest;
  return sign ? -magnitude : magnitude;
}

inline float ToFloat(Bf16 value) { return FloatOf(static_cast<uint32_t>(value.bits) << 16); }

inline float ToFloat(float value) { return value; }

inline float ToFloat(Tf32 value) { return value.value; }

template <class Element>
Element RoundTo(float value);

template <>
inline float RoundTo(float value) {
  return value;
}

template <>
inline Half RoundTo(float value) {
  const uint32_t bits = BitsOf(value), magnitude = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
  constexpr uint32_t kInfinity = 0x7f800000u, kBeyondLargest = 0x477ff000u, kSmallestNormal = 0x38800000u;
  uint32_t result;
  if (magnitude > kInfinity) {
    result = 0x7e00u;
  } else if (magnitude >= kBeyondLargest) {
    result = 0x7c00u;
  } else if (magnitude >= kSmallestNormal) {
    result = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1)) >> 13;
  } else {
    // Half's subnormal numbers are the multiples of 2^-24, as floats from 0.5 to 1 are.
    result = BitsOf(FloatOf(magnitude) + 0.5f) - BitsOf(0.5f);
  }
  return {static_cast<uint16_t>(sign | result)};
}

template <>
inline Bf16 RoundTo(float value) {
  const uint32_t bits = BitsOf(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
}

template <>
inline Tf32 RoundTo(float value) {
  constexpr uint32_t kDropped = 0x1fffu, kHalf = 0x1000u, kQuietNan = 0x7fc00000u;
  const uint32_t bits = BitsOf(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {FloatOf((bits & 0x80000000u) | kQuietNan)};
  return {FloatOf((bits + kHalf) & ~kDropped)};
}

}  // namespace mvf

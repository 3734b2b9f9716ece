// What 8-bit attention needs of the vectors, in plain C++.
#pragma once

#include "kernels/int8_exp2-inl.h"

namespace mvf {
namespace {

inline IntVec Max(IntVec a, IntVec b) {
  return ForEachInt([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}

// A unit of weights in each lane from the distances of its keys.
template <class Dot>
IntVec WeightUnits(const Vec (&distance)[Dot::kUnit]) {
  return ForEachInt([&](int i) {
    uint8_t weights[Dot::kUnit];
    for (int k = 0; k < Dot::kUnit; ++k) {
      const float steps = distance[k].v[i];
      const int64_t limited = steps < kDistanceLimit ? lrintf(steps) : kDistanceLimit;
      weights[k] = static_cast<uint8_t>(Int8Exp2(static_cast<uint32_t>(limited)));
    }
    int32_t unit;
    __builtin_memcpy(&unit, weights, sizeof(unit));
    return unit;
  });
}

// The bytes that four vectors of sums become, those of a lane side by side.
inline ByteVec PackLanes(IntVec a, IntVec b, IntVec c, IntVec d) {
  const ByteVec packed = ByteVec::Pack(a, b, c, d);
  ByteVec units;
  for (int i = 0; i < ByteVec::kBytes; ++i) units.v[i] = packed.v[i % 4 * Vec::kLanes + i / 4];
  return units;
}

// The first n bytes (1 <= n <= kBytes) from memory, zeros behind them; and to memory.
inline ByteVec LoadBytes(const uint8_t* p, int64_t n) {
  ByteVec bytes = {};
  __builtin_memcpy(bytes.v, p, static_cast<size_t>(n));
  return bytes;
}
inline void StoreBytes(ByteVec bytes, uint8_t* p, int64_t n) {
  __builtin_memcpy(p, bytes.v, static_cast<size_t>(n));
}

// rows[i] unit j <-> rows[j] unit i.
inline void TransposeUnits(ByteVec rows[Vec::kLanes]) {
  for (int i = 0; i < Vec::kLanes; ++i) {
    for (int j = 0; j < i; ++j) {
      for (int k = 0; k < 4; ++k) {
        const uint8_t byte = rows[i].v[4 * j + k];
        rows[i].v[4 * j + k] = rows[j].v[4 * i + k];
        rows[j].v[4 * i + k] = byte;
      }
    }
  }
}

// Bytes as the elements of a row that is multiplied.
template <class Dot>
void StoreElements(ByteVec bytes, typename Dot::Element* to) {
  bytes.Store(to);
}

// Bytes, less 128, as units of a panel; where a unit holds two of a lane's four bytes, the others go `stride`
// slots behind.
template <class Dot>
void StoreSignedUnits(ByteVec bytes, typename Dot::Unit* to, int64_t /*stride*/) {
  for (uint8_t& byte : bytes.v) byte ^= 0x80;
  __builtin_memcpy(to, bytes.v, sizeof(bytes.v));
}

// Unit c: byte c, less 128, of each of `from`, for the first n (1 <= n <= kInterleaved) of them.
template <class Dot>
void StoreInterleaved(const uint8_t* const (&from)[Dot::kUnit], int64_t n, typename Dot::Unit* to) {
  for (int64_t c = 0; c < n; ++c) {
    uint8_t unit[Dot::kUnit];
    for (int i = 0; i < Dot::kUnit; ++i) unit[i] = from[i][c] ^ 0x80;
    __builtin_memcpy(to + c, unit, sizeof(unit));
  }
  for (int64_t c = n; c < kInterleaved; ++c) to[c] = 0;
}

}  // namespace
}  // namespace mvf

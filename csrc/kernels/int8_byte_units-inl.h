// What the 8-bit dot policies by vpdpbusd have in common: rows stay bytes, four of which are a unit.
#pragma once

namespace mvf {
namespace {

struct ByteUnits {
  using Element = uint8_t;  // of rows that are multiplied
  using Unit = uint32_t;
  static constexpr int kUnit = 4;

  // Rows of bytes may start anywhere.
  static MVF_INLINE int32_t Read(const Unit* p) {
    int32_t unit;
    __builtin_memcpy(&unit, p, sizeof(unit));
    return unit;
  }
  static Unit PackUnit(const int8_t* k, int64_t valid) {
    Unit unit = 0;
    __builtin_memcpy(&unit, k, static_cast<size_t>(valid < kUnit ? valid : kUnit));
    return unit;
  }
};

}  // namespace
}  // namespace mvf

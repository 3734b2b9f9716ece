// What the 8-bit dot policies without a byte product have in common: rows and weights are widened to 16 bits,
// so that the product of two pairs (vpmaddwd) is exact. vpmaddubsw would saturate on full-range bytes.
#pragma once

namespace mvf {
namespace {

struct WordDot {
  using Element = int16_t;  // of rows that are multiplied
  using Unit = uint32_t;
  static constexpr int kUnit = 2;

  static Unit PackUnit(const int8_t* k, int64_t valid) {
    const Unit low = valid > 0 ? static_cast<uint16_t>(k[0]) : 0;
    return valid > 1 ? low | static_cast<Unit>(static_cast<uint16_t>(k[1])) << 16 : low;
  }
};

}  // namespace
}  // namespace mvf

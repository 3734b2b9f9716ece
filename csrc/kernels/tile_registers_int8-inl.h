// Tiles of unsigned bytes times signed ones: sums[m, n] += sum_k rows[m, k] * columns[n, k], k over fours
// (tdpbusd).
#pragma once

namespace mvf {
namespace {

template <>
struct TileRegisters<Int8Dot> : AmxTiles {
  template <int kSums, int kRowsTile, int kColumns>
  static MVF_INLINE void MulAdd() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kRowsTile), "i"(kColumns));
  }
};

}  // namespace
}  // namespace mvf

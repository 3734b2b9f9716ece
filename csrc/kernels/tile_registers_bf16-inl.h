// Tiles of bfloat16 numbers: sums[m, n] += sum_k rows[m, k] * columns[n, k], k over pairs (tdpbf16ps).
#pragma once

namespace mvf {
namespace {

template <>
struct TileRegisters<DotBf16> : AmxTiles {
  template <int kSums, int kRowsTile, int kColumns>
  static MVF_INLINE void MulAdd() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kRowsTile), "i"(kColumns));
  }
};

}  // namespace
}  // namespace mvf

// What multiplies tiles of bfloat16 numbers.
#pragma once

namespace mvf {
namespace {

template <>
struct TileRegisters<DotBf16> : AmxTiles {
  template <int kSums, int kRowsTile, int kColumns>
  static MVF_INLINE void MulAdd() {
    MulAddBf16<kSums, kRowsTile, kColumns>();
  }
};

}  // namespace
}  // namespace mvf

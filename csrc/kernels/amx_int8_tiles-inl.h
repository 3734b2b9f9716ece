// What multiplies tiles of bytes.
#pragma once

namespace mvf {
namespace {

template <>
struct TileRegisters<Int8Dot> : AmxTiles {
  template <int kSums, int kRowsTile, int kColumns>
  static MVF_INLINE void MulAdd() {
    MulAddBytes<kSums, kRowsTile, kColumns>();
  }
};

}  // namespace
}  // namespace mvf

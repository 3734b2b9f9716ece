// Products of unsigned and signed bytes: sums[16 x 8] += a[16 x 32] * b[32 x 8], exact in 32 bits, on tensor
// cores; and bytes as kernels move them. A row of bytes is loaded as one of half as many 16-bit elements: of
// both, the fragments hold the same bytes in the same lanes.
#pragma once

#include "cuda/matrix.h"

namespace mvf::cuda {

// How columns are dealt out to tiles: in order; or so that of each row a lane holds eight neighbours: four
// tiles share 32 columns, of which number 8 * p + 2 * t + s is the one that lane p of a row has in tile t, s
// to its right.
enum class ColumnOrder { kInOrder, kInRuns };
constexpr int kRunColumns = 32;
constexpr int kRunTiles = kRunColumns / kTileColumns;
constexpr int kRun = 8;

// The first of the two columns in runs that this lane holds of a tile.
MVF_DEVICE int RunColumnOf(int tile) {
  return tile / kRunTiles * kRunColumns + LaneIndex() % 4 * kRun + tile % kRunTiles * 2;
}
// The place among columns in order of column n in runs.
constexpr int64_t PlaceInRuns(int64_t n) {
  const int64_t within = n % kRunColumns;
  return n - within + within % kRun / 2 * kTileColumns + within / kRun * 2 + within % 2;
}

template <>
struct Matrix<uint8_t> : ColumnsInOrder {
  using Total = SumsOf<int32_t>;
  static constexpr int kDepth = 32;
  static constexpr int kPackedDepth = 64;
  struct A {
    uint32_t quads[4];
  };
  struct B {
    uint32_t quads[2];
  };

  // Place of weight (n, k) in a matrix whose columns have `depth_tiles` tiles each.
  static constexpr int64_t PlaceOf(int64_t n, int64_t k, int64_t depth_tiles) {
    const int64_t lane = n % kTileColumns * 4 + k % 16 / 4, fragment = k % kPackedDepth / kDepth;
    const int64_t tile = n / kTileColumns * depth_tiles + k / kPackedDepth;
    return tile * kTileColumns * kPackedDepth + (fragment * kWarp + lane) * 8 + k % kDepth / 16 * 4 + k % 4;
  }

  static MVF_DEVICE void LoadRows(A& a, const uint8_t* rows, int pitch) {
    LoadMatrices(a.quads, rows + LaneIndex() % 16 * pitch + LaneIndex() / 16 * 16);
  }
  static MVF_DEVICE void LoadPacked(B& b, const uint8_t* tile, int fragment) {
    const uint2 quads = LoadConstant8(tile + (fragment * kWarp + LaneIndex()) * 8);
    b.quads[0] = quads.x;
    b.quads[1] = quads.y;
  }
  // b[k][n] from rows[8 of n][pitch] in shared memory.
  static MVF_DEVICE void LoadByColumn(B& b, const uint8_t* rows, int pitch) {
    LoadMatrices(b.quads, rows + LaneIndex() % 8 * pitch + LaneIndex() / 8 % 2 * 16);
  }

  static MVF_DEVICE void Multiply(Total& sums, const A& a, const B& b) {
    MultiplyFragments(sums.value, a.quads, b.quads, UnsignedBySigned{});
  }
  static MVF_DEVICE void MultiplySigned(Total& sums, const A& a, const B& b) {
    MultiplyFragments(sums.value, a.quads, b.quads, SignedByUnsigned{});
  }
};

// ---- rounding, as the kernels of the CPU do it ----------------------------------------------------------

// Of a sum made real.
MVF_DEVICE uint32_t RoundToByte(float value) {
  const int32_t rounded = RoundToInt(value);
  return static_cast<uint32_t>(rounded < 0 ? 0 : rounded > 255 ? 255 : rounded);
}

struct Quantizer {
  float inverse_scale;
  float zero;

  Quantizer() = default;
  Quantizer(float scale, int32_t zero_point)
      : inverse_scale(1.0f / scale), zero(static_cast<float>(zero_point)) {}

  // A NaN is 255.
  MVF_DEVICE uint32_t operator()(float value) const {
    const float position = FusedMultiplyAdd(value, inverse_scale, zero);
    const float limited = position < 255.0f ? position : 255.0f;
    return static_cast<uint32_t>(RoundToInt(limited > 0.0f ? limited : 0.0f));
  }
};

MVF_DEVICE uint32_t Word(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return a | b << 8 | c << 16 | d << 24;
}

// Byte i of word j and byte j of word i change places.
MVF_DEVICE void TransposeBytes(uint32_t (&words)[4]) {
  const uint32_t left[2] = {PickBytes(words[0], words[1], 0x5140), PickBytes(words[2], words[3], 0x5140)};
  const uint32_t right[2] = {PickBytes(words[0], words[1], 0x7362), PickBytes(words[2], words[3], 0x7362)};
  words[0] = PickBytes(left[0], left[1], 0x5410);
  words[1] = PickBytes(left[0], left[1], 0x7632);
  words[2] = PickBytes(right[0], right[1], 0x5410);
  words[3] = PickBytes(right[0], right[1], 0x7632);
}

// Sixteen times the same byte.
MVF_DEVICE void StoreSame(uint8_t* to, uint8_t byte) {
  const uint32_t word = byte * 0x01010101u;
  Store16(to, {word, word, word, word});
}

// `bytes` of sixteen (16, 8, 4, or 1 for any) that addresses and widths allow to be copied at once, on their
// way to shared memory; zeros from `count` on.
MVF_DEVICE void CopyBytes16(uint8_t* to, const uint8_t* from, int count, int unit, const uint8_t* anywhere) {
  if (unit == 16) {
    CopyAsync<16>(to, count > 0 ? from : anywhere, count > 0);
  } else if (unit == 8) {
    MVF_UNROLL
    for (int i = 0; i < 16; i += 8) CopyAsync<8>(to + i, count > i ? from + i : anywhere, count > i);
  } else if (unit == 4) {
    MVF_UNROLL
    for (int i = 0; i < 16; i += 4) CopyAsync<4>(to + i, count > i ? from + i : anywhere, count > i);
  } else {
    for (int i = 0; i < 16; ++i) to[i] = count > i ? from[i] : 0;
  }
}

// From shared memory, `unit` (16, 8, 4 or 1) of them, at multiples of it.
MVF_DEVICE void StoreBytes(uint8_t* to, const uint8_t* from, int unit) {
  if (unit == 16) {
    Store16(to, Load16(from));
  } else if (unit == 8) {
    Store8(to, {LoadWord(from), LoadWord(from + 4)});
  } else if (unit == 4) {
    StoreWord(to, LoadWord(from));
  } else {
    *to = *from;
  }
}

}  // namespace mvf::cuda

// Small matrix products by one warp: sums[16 x 8] += a[16 x k] * b[k x 8], and who holds which element.
//
// Lane l holds of the sums the rows l / 4 and l / 4 + 8, columns 2 * (l % 4) and the next, whatever the
// element type: the accumulator fragment of PTX's mma.m16n8k16 and others. All lanes of a warp call each
// function together.
#pragma once

#include "cuda/simt.h"

namespace mvf::cuda {

MVF_DEVICE int LaneIndex() { return ThreadIndex() % kWarp; }
MVF_DEVICE int WarpIndex() { return ThreadIndex() / kWarp; }

template <class Value>
struct SumsOf {
  Value value[4];  // (row, column), (row, column + 1), (row + 8, column), (row + 8, column + 1)

  MVF_DEVICE void Clear() { value[0] = value[1] = value[2] = value[3] = Value{}; }
};
using Sums = SumsOf<float>;
MVF_DEVICE int SumsRow() { return LaneIndex() / 4; }
MVF_DEVICE int SumsColumn() { return LaneIndex() % 4 * 2; }

// Weights [n][k] are packed for b (n columns) in tiles of 8 columns and kTileDepth of k, padded with zeros;
// the tiles of the same columns follow one another. Columns are padded to whole kPackedColumns.
constexpr int kTileColumns = 8;
constexpr int kTileDepth = 32;
constexpr int kTileElements = kTileColumns * kTileDepth;
constexpr int kPackedColumns = 64;

// Shared memory rows end in so many elements more, so that eight consecutive rows lie in different banks.
template <class Element>
constexpr int kUnit = 16 / static_cast<int>(sizeof(Element));  // elements of sixteen bytes

// Columns as they come: tile by tile.
struct ColumnsInOrder {
  static MVF_DEVICE int TilesOf(int columns) { return (columns + kTileColumns - 1) / kTileColumns; }
  // The first of the two columns that this lane holds of a tile.
  static MVF_DEVICE int ColumnOf(int tile) { return tile * kTileColumns + SumsColumn(); }
};

// 16-bit elements: tensor cores.
template <class Element>
struct Matrix : ColumnsInOrder {
  using Total = Sums;
  static constexpr int kDepth = 16;                // k of one product
  static constexpr int kPackedDepth = kTileDepth;  // of a tile of weights
  struct A {
    uint32_t pairs[4];
  };
  struct B {
    uint32_t pairs[2];
  };

  // Place of weight (n, k) within its tile, n < 8, k < 32: a lane finds its fragment's elements together.
  static constexpr int PlaceInTile(int n, int k) {
    const int lane = n * 4 + k % 8 / 2, fragment = k / kDepth;
    return (fragment * kWarp + lane) * 4 + k % kDepth / 8 * 2 + k % 2;
  }

  // rows[16][pitch] in shared memory, from the first k on.
  static MVF_DEVICE void LoadRows(A& a, const Element* rows, int pitch) {
    LoadMatrices(a.pairs, rows + LaneIndex() % 16 * pitch + LaneIndex() / 16 * 8);
  }

  static MVF_DEVICE void LoadPacked(B& b, const Element* tile, int fragment) {
    const uint2 pairs = LoadConstant8(tile + (fragment * kWarp + LaneIndex()) * 4);
    b.pairs[0] = pairs.x;
    b.pairs[1] = pairs.y;
  }

  // b[k][n] from rows[8 of n][pitch] in shared memory; and from rows[kDepth of k][pitch], to be multiplied by
  // what FromSums gives.
  static MVF_DEVICE void LoadByColumn(B& b, const Element* rows, int pitch) {
    LoadMatrices(b.pairs, rows + LaneIndex() % 8 * pitch + LaneIndex() / 8 % 2 * 8);
  }
  static MVF_DEVICE void LoadByDepth(B& b, const Element* rows, int pitch) {
    LoadMatricesTransposed(b.pairs, rows + LaneIndex() % 16 * pitch);
  }

  static MVF_DEVICE void Multiply(Sums& sums, const A& a, const B& b) {
    MultiplyFragments(sums.value, a.pairs, b.pairs, Element{});
  }

  // Sums of kDepth columns, eight after eight, become rows to multiply.
  static MVF_DEVICE void FromSums(A& a, const Sums* sums) {
    a.pairs[0] = NarrowPair(sums[0].value[0], sums[0].value[1], Element{});
    a.pairs[1] = NarrowPair(sums[0].value[2], sums[0].value[3], Element{});
    a.pairs[2] = NarrowPair(sums[1].value[0], sums[1].value[1], Element{});
    a.pairs[3] = NarrowPair(sums[1].value[2], sums[1].value[3], Element{});
  }
};

// TF32: tensor cores, on operands rounded as they are loaded; weights were when they were packed.
template <>
struct Matrix<Tf32> : ColumnsInOrder {
  using Total = Sums;
  static constexpr int kDepth = 8;
  static constexpr int kPackedDepth = kTileDepth;
  struct A {
    uint32_t values[4];
  };
  struct B {
    uint32_t values[2];
  };

  static constexpr int PlaceInTile(int n, int k) {
    const int lane = n * 4 + k % 4, fragment = k / kDepth;
    return (fragment * kWarp + lane) * 2 + k % kDepth / 4;
  }

  // Where matrices of 16-bit elements have a pair, these have one element.
  static MVF_DEVICE void LoadRows(A& a, const Tf32* rows, int pitch) {
    LoadMatrices(a.values, rows + LaneIndex() % 16 * pitch + LaneIndex() / 16 * 4);
    MVF_UNROLL
    for (uint32_t& value : a.values) value = RoundToTf32(BitsAsFloat(value));
  }

  static MVF_DEVICE void LoadPacked(B& b, const Tf32* tile, int fragment) {
    const uint2 values = LoadConstant8(tile + (fragment * kWarp + LaneIndex()) * 2);
    b.values[0] = values.x;
    b.values[1] = values.y;
  }

  static MVF_DEVICE void LoadByColumn(B& b, const Tf32* rows, int pitch) {
    LoadMatrices(b.values, rows + LaneIndex() % 8 * pitch + LaneIndex() / 8 % 2 * 4);
    MVF_UNROLL
    for (uint32_t& value : b.values) value = RoundToTf32(BitsAsFloat(value));
  }
  static MVF_DEVICE void LoadByDepth(B& b, const Tf32* rows, int pitch) {
    const Tf32* from = rows + SumsColumn() * pitch + LaneIndex() / 4;
    b.values[0] = RoundToTf32(Widen(from[0]));
    b.values[1] = RoundToTf32(Widen(from[pitch]));
  }

  static MVF_DEVICE void Multiply(Sums& sums, const A& a, const B& b) {
    MultiplyFragments(sums.value, a.values, b.values, Tf32{});
  }

  // A lane keeps its own sums, so of each depth 8 the even ones come before the odd ones: products may be
  // summed in any order.
  static MVF_DEVICE void FromSums(A& a, const Sums* sums) {
    a.values[0] = RoundToTf32(sums->value[0]);
    a.values[1] = RoundToTf32(sums->value[2]);
    a.values[2] = RoundToTf32(sums->value[1]);
    a.values[3] = RoundToTf32(sums->value[3]);
  }
};

// float: plain multiply-adds in full precision, for parity. A lane has all of k for its rows and columns.
template <>
struct Matrix<float> : ColumnsInOrder {
  using Total = Sums;
  static constexpr int kDepth = 8;
  static constexpr int kPackedDepth = kTileDepth;
  struct A {
    float rows[2][kDepth];
  };
  struct B {
    float columns[2][kDepth];
  };

  static constexpr int PlaceInTile(int n, int k) {
    const int fragment = k / kDepth;
    return ((fragment * 4 + n / 2) * 2 + n % 2) * kDepth + k % kDepth;
  }

  static MVF_DEVICE void LoadRows(A& a, const float* rows, int pitch) {
    MVF_UNROLL
    for (int i = 0; i < 2; ++i) {
      MVF_UNROLL
      for (int k = 0; k < kDepth; ++k) a.rows[i][k] = rows[(SumsRow() + 8 * i) * pitch + k];
    }
  }

  static MVF_DEVICE void LoadPacked(B& b, const float* tile, int fragment) {
    const float* from = tile + (fragment * 4 + LaneIndex() % 4) * 2 * kDepth;
    MVF_UNROLL
    for (int i = 0; i < 2; ++i) {
      MVF_UNROLL
      for (int k = 0; k < kDepth; k += 4) {
        const uint4 words = LoadConstant16(from + i * kDepth + k);
        b.columns[i][k] = BitsAsFloat(words.x);
        b.columns[i][k + 1] = BitsAsFloat(words.y);
        b.columns[i][k + 2] = BitsAsFloat(words.z);
        b.columns[i][k + 3] = BitsAsFloat(words.w);
      }
    }
  }

  static MVF_DEVICE void LoadByColumn(B& b, const float* rows, int pitch) {
    MVF_UNROLL
    for (int i = 0; i < 2; ++i) {
      MVF_UNROLL
      for (int k = 0; k < kDepth; ++k) b.columns[i][k] = rows[(SumsColumn() + i) * pitch + k];
    }
  }
  static MVF_DEVICE void LoadByDepth(B& b, const float* rows, int pitch) {
    MVF_UNROLL
    for (int i = 0; i < 2; ++i) {
      MVF_UNROLL
      for (int k = 0; k < kDepth; ++k) b.columns[i][k] = rows[k * pitch + SumsColumn() + i];
    }
  }

  static MVF_DEVICE void Multiply(Sums& sums, const A& a, const B& b) {
    MVF_UNROLL
    for (int i = 0; i < 4; ++i) {
      MVF_UNROLL
      for (int k = 0; k < kDepth; ++k) sums.value[i] += a.rows[i / 2][k] * b.columns[i % 2][k];
    }
  }

  static MVF_DEVICE void FromSums(A& a, const Sums* sums) {
    const int first = LaneIndex() / 4 * 4;
    MVF_UNROLL
    for (int i = 0; i < 2; ++i) {
      MVF_UNROLL
      for (int k = 0; k < kDepth; ++k)
        a.rows[i][k] = ShuffleFrom(sums[0].value[2 * i + k % 2], first + k / 2);
    }
  }
};

// ---- elements in memory ---------------------------------------------------------------------------------

template <class Element>
MVF_DEVICE Element Narrow(float value) {
  return {static_cast<uint16_t>(NarrowPair(value, 0.0f, Element{}))};
}
template <>
MVF_DEVICE float Narrow(float value) {
  return value;
}

template <>
MVF_DEVICE Tf32 Narrow(float value) {
  return {value};
}

// Two neighbours at a multiple of their size.
template <class Element>
MVF_DEVICE void StorePair(Element* to, float first, float second) {
  StoreWord(to, NarrowPair(first, second, Element{}));
}
template <>
MVF_DEVICE void StorePair(float* to, float first, float second) {
  StoreFloats(to, first, second);
}
template <>
MVF_DEVICE void StorePair(Tf32* to, float first, float second) {
  StoreFloats(&to->value, first, second);
}
template <class Element>
MVF_DEVICE float2 LoadPair(const Element* from) {
  const uint32_t word = LoadWord(from);
  float2 pair;
  pair.x = Widen(Element{static_cast<uint16_t>(word)});
  pair.y = Widen(Element{static_cast<uint16_t>(word >> 16)});
  return pair;
}
template <>
MVF_DEVICE float2 LoadPair(const float* from) {
  return LoadFloats(from);
}
template <>
MVF_DEVICE float2 LoadPair(const Tf32* from) {
  return LoadFloats(&from->value);
}

constexpr float kLog2E = 1.4426950408889634f;

MVF_DEVICE float Silu(float x) { return x * Reciprocal(1.0f + Exp2(-kLog2E * x)); }

constexpr int64_t DivideUp(int64_t value, int64_t by) { return (value + by - 1) / by; }
constexpr int64_t PadTo(int64_t value, int64_t multiple) { return DivideUp(value, multiple) * multiple; }

// Sum over a warp, in every lane.
MVF_DEVICE float WarpSum(float value) {
  MVF_UNROLL
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += ShuffleXor(value, mask);
  return value;
}

}  // namespace mvf::cuda

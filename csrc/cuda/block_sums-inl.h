// Sums of 64 rows and up to 32 * kTiles columns, held by a block of eight warps: two along the rows, four
// along the columns, which they take in turns of eight, so that any number of columns is shared evenly.
#pragma once

#include "cuda/packing.h"

namespace mvf::cuda {

constexpr int kBlockWarps = 8;
constexpr int kBlockRows = 64;

template <class Element, int kTiles>
class BlockSums {
 public:
  using Product = Matrix<Element>;
  static constexpr int kTurn = 4;  // warps along the columns
  static constexpr int kMaxColumnTiles = kTiles * kTurn;

  // Sums of the column tiles first_tile to first_tile + kMaxColumnTiles that the product has.
  MVF_DEVICE BlockSums(int first_tile, int columns)
      : first_tile_(first_tile + WarpIndex() % kTurn), tiles_(Product::TilesOf(columns)) {
    MVF_UNROLL
    for (int j = 0; j < kTiles; ++j) {
      sums_[j][0].Clear();
      sums_[j][1].Clear();
    }
  }

  // Adds the product of rows[64][pitch] in shared memory and weights of `depth_tiles` tiles of depth, from
  // `depth_tile` on. Only the first `row_count` rows count: tiles without any of them are left out.
  template <class Weights>
  MVF_DEVICE void Add(const Element* rows, int pitch, int row_count, const Weights& weights, int depth_tile,
                      int depth_tiles) {
    const int first_row = FirstRow();
    if (first_row >= row_count) return;
    const bool both = first_row + 16 < row_count;
    MVF_NO_UNROLL
    for (int tile = 0; tile < depth_tiles; ++tile) {
      MVF_UNROLL
      for (int i = 0; i < Product::kPackedDepth / Product::kDepth; ++i) {
        const Element* from = rows + first_row * pitch + tile * Product::kPackedDepth + i * Product::kDepth;
        typename Product::A upper, lower;
        Product::LoadRows(upper, from, pitch);
        if (both) Product::LoadRows(lower, from + 16 * pitch, pitch);
        MVF_UNROLL
        for (int j = 0; j < kTiles; ++j) {
          if (Tile(j) >= tiles_) break;
          typename Product::B columns;
          Product::LoadPacked(columns, weights.Tile(Tile(j), depth_tile + tile), i);
          Product::Multiply(sums_[j][0], upper, columns);
          if (both) Product::Multiply(sums_[j][1], lower, columns);
        }
      }
    }
  }

  // Calls visit(row, column, sum, sum of the column to the right) for what this lane holds; columns are even
  // and may be those of the padding.
  template <class Visit>
  MVF_DEVICE void ForEach(Visit&& visit) const {
    MVF_UNROLL
    for (int j = 0; j < kTiles; ++j) {
      if (Tile(j) >= tiles_) break;
      const int column = Product::ColumnOf(Tile(j));
      MVF_UNROLL
      for (int i = 0; i < 2; ++i) {
        const int row = FirstRow() + i * 16 + SumsRow();
        visit(row, column, sums_[j][i].value[0], sums_[j][i].value[1]);
        visit(row + 8, column, sums_[j][i].value[2], sums_[j][i].value[3]);
      }
    }
  }

 private:
  static MVF_DEVICE int FirstRow() { return WarpIndex() / kTurn * 32; }
  MVF_DEVICE int Tile(int j) const { return first_tile_ + j * kTurn; }

  const int first_tile_;
  const int tiles_;
  typename Product::Total sums_[kTiles][2];
};

}  // namespace mvf::cuda

// output[m, n] = activation(bias[n] + sum_k rows[m, k] * weight[n, k]) + residual[m, n]
//
// Rows stream through stages of shared memory, several under way at once; weights come straight from the
// caches in the order of the fragments.
#pragma once

#include "cuda/gemm_sources-inl.h"
#include "cuda/packing.h"

namespace mvf::cuda {

// What becomes of the sums, rows and columns of the whole product.
template <class Element>
struct Epilogue {
  const float* bias;  // padded
  void* output;       // Element, or float
  int64_t output_stride;
  const void* residual;  // of the output's type, or null
  int64_t residual_stride;
  int64_t rows;
  int columns;
  bool silu;
  bool float_output;
  bool pairs;  // two neighbours, the first in an even column, can be moved at once

  template <class Out>
  MVF_DEVICE void StoreAs(int64_t row, int column, float first, float second) const {
    Out* to = static_cast<Out*>(output) + row * output_stride + column;
    const Out* from = residual ? static_cast<const Out*>(residual) + row * residual_stride + column : nullptr;
    if (pairs) {
      if (from) {
        const float2 added = LoadPair(from);
        first += added.x;
        second += added.y;
      }
      StorePair(to, first, second);
      return;
    }
    to[0] = Narrow<Out>(first + (from ? Widen(from[0]) : 0.0f));
    if (column + 1 < columns) to[1] = Narrow<Out>(second + (from ? Widen(from[1]) : 0.0f));
  }

  // A warp's sums, which begin at that row and tile of columns.
  template <int kRowTiles, int kColumnTiles>
  MVF_DEVICE void StoreAll(int64_t first_row, int column_tile,
                           const Sums (&sums)[kRowTiles][kColumnTiles]) const {
    MVF_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      const int64_t row = first_row + i * 16 + SumsRow();
      MVF_UNROLL
      for (int j = 0; j < kColumnTiles; ++j) {
        const int column = (column_tile + j) * kTileColumns + SumsColumn();
        Store(row, column, sums[i][j].value[0], sums[i][j].value[1]);
        Store(row + 8, column, sums[i][j].value[2], sums[i][j].value[3]);
      }
    }
  }

  // Sums of (row, column) and its right neighbour.
  MVF_DEVICE void Store(int64_t row, int column, float first, float second) const {
    if (row >= rows || column >= columns) return;
    first += bias[column];
    second += bias[column + 1];
    if (silu) {
      first = Silu(first);
      second = Silu(second);
    }
    if (float_output) {
      StoreAs<float>(row, column, first, second);
    } else {
      StoreAs<Element>(row, column, first, second);
    }
  }
};

template <class ElementOf, class TileOf, template <class, class> class SourceOf,
          class WeightsOf = PackedMatrix<ElementOf>, class EpilogueOf = cuda::Epilogue<ElementOf>>
struct GemmKernel {
  using Element = ElementOf;
  using Weights = WeightsOf;
  using Epilogue = EpilogueOf;
  using Tile = TileOf;
  using Source = SourceOf<Element, Tile>;
  using Product = Matrix<Element>;
  using Share = StageShare<Element, Tile>;
  static constexpr int kThreads = Tile::kThreads;
  static constexpr int kBlocksPerMultiprocessor = sizeof(Element) <= 2 ? 3 : 1;
  static constexpr int kStages = 4;
  static constexpr int kStageElements = Tile::kRows * Share::kPitch;
  static constexpr int kFragments = Product::kPackedDepth / Product::kDepth;
  static constexpr size_t kSharedBytes =
      static_cast<size_t>(kStages) * kStageElements * sizeof(Element) + Source::kSharedBytes;

  struct Args {
    typename Source::Args source;
    Weights weights;
    Epilogue epilogue;
    int column_blocks;
  };

  static MVF_DEVICE void Run(const Args& args) {
    auto* stages = reinterpret_cast<Element*>(SharedMemory());
    char* beside = SharedMemory() + kStages * kStageElements * sizeof(Element);
    // Blocks that share their rows are neighbours.
    const int64_t row_block = BlockIndex() / args.column_blocks;
    const int column_block = static_cast<int>(BlockIndex() - row_block * args.column_blocks);
    const int64_t first_row = row_block * Tile::kRows;
    const int warp_row = WarpIndex() / Tile::kWarpsAcross * Tile::kRowTiles * 16;
    const int column_tile =
        (column_block * Tile::kWarpsAcross + WarpIndex() % Tile::kWarpsAcross) * Tile::kColumnTiles;

    Source source(args.source, first_row, beside);
    const int tiles = args.weights.depth_tiles;
    MVF_UNROLL
    for (int tile = 0; tile < kStages - 1; ++tile) {
      if (tile < tiles) source.Load(tile, stages + tile * kStageElements);
      CommitCopies();
    }
    Total sums[Tile::kRowTiles][Tile::kColumnTiles];
    MVF_UNROLL
    for (int i = 0; i < Tile::kRowTiles; ++i) {
      MVF_UNROLL
      for (int j = 0; j < Tile::kColumnTiles; ++j) sums[i][j].Clear();
    }
    MVF_NO_UNROLL
    for (int tile = 0; tile < tiles; ++tile) {
      Columns columns[kFragments];
      if constexpr (kWeightsEarly) {
        MVF_UNROLL
        for (int i = 0; i < kFragments; ++i) LoadColumns(columns[i], args.weights, column_tile, tile, i);
      }
      WaitCopies<kStages - 2>();
      SyncBlock();  // the tile is there, and everyone is done with the stage that is filled next
      const int next = tile + kStages - 1;
      if (next < tiles) source.Load(next, stages + next % kStages * kStageElements);
      CommitCopies();
      const Element* rows = stages + tile % kStages * kStageElements + warp_row * Share::kPitch;
      MVF_UNROLL
      for (int i = 0; i < kFragments; ++i) {
        if constexpr (!kWeightsEarly) LoadColumns(columns[i], args.weights, column_tile, tile, i);
        MultiplyFragment(rows + i * Product::kDepth, columns[i], sums);
      }
    }
    args.epilogue.StoreAll(first_row + warp_row, column_tile, sums);
  }

 private:
  using Total = typename Product::Total;

  // While the warp waits for its rows; in float they would take too many registers.
  static constexpr bool kWeightsEarly = sizeof(Element) <= 2;

  struct Columns {
    typename Product::B tiles[Tile::kColumnTiles];
  };

  static MVF_DEVICE void LoadColumns(Columns& columns, const Weights& weights, int column_tile, int tile,
                                     int fragment) {
    MVF_UNROLL
    for (int j = 0; j < Tile::kColumnTiles; ++j) {
      Product::LoadPacked(columns.tiles[j], weights.Tile(column_tile + j, tile), fragment);
    }
  }

  static MVF_DEVICE void MultiplyFragment(const Element* rows, const Columns& columns,
                                          Total (&sums)[Tile::kRowTiles][Tile::kColumnTiles]) {
    MVF_UNROLL
    for (int i = 0; i < Tile::kRowTiles; ++i) {
      typename Product::A fragment;
      Product::LoadRows(fragment, rows + i * 16 * Share::kPitch, Share::kPitch);
      MVF_UNROLL
      for (int j = 0; j < Tile::kColumnTiles; ++j) Product::Multiply(sums[i][j], fragment, columns.tiles[j]);
    }
  }
};

}  // namespace mvf::cuda

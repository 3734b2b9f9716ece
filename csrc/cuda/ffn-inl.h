// stream[m, :] += down * silu(up * normalize(stream[m, :]) + up_bias) + down_bias, in place. A block keeps 64
// rows; what they are expanded to exists in shared memory, 64 columns at a time.
#pragma once

#include "cuda/block_sums-inl.h"
#include "cuda/row_moments-inl.h"

namespace mvf::cuda {

template <class ElementOf, int kTiles>
struct FfnKernel {
  using Element = ElementOf;
  using Product = Matrix<Element>;
  using Columns = BlockSums<Element, kTiles>;
  static constexpr int kThreads = kBlockWarps * kWarp;
  static constexpr int kBlocksPerMultiprocessor = sizeof(Element) == 2 ? 2 : 1;
  static constexpr int kHidden = 64;  // columns at a time
  static constexpr int kHiddenTiles = kHidden / kTileDepth;
  static constexpr int kHiddenPitch = kHidden + kUnit<Element>;

  struct Args {
    PackedMatrix<Element> up;
    PackedMatrix<Element> down;
    float* stream;
    int64_t stride;
    int64_t rows;
    int dim;
    int hidden;
    float epsilon;
  };

  static int RowPitch(int64_t dim) {
    return static_cast<int>(PackedTiles(dim)) * kTileDepth + kUnit<Element>;
  }
  static size_t SharedBytes(int64_t dim) {
    return static_cast<size_t>(kBlockRows) * static_cast<size_t>(RowPitch(dim) + 2 * kHiddenPitch) *
           sizeof(Element);
  }

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t first_row = BlockIndex() * kBlockRows;
    const int row_count =
        static_cast<int>(args.rows - first_row < kBlockRows ? args.rows - first_row : kBlockRows);
    const int pitch = args.up.depth_tiles * kTileDepth + kUnit<Element>;
    auto* rows = reinterpret_cast<Element*>(SharedMemory());
    Element* hidden = rows + kBlockRows * pitch;
    float* stream = args.stream + first_row * args.stride;
    Normalize(args, stream, row_count, pitch, rows);
    SyncBlock();
    const int dim_tiles = static_cast<int>(DivideUp(args.dim, kTileColumns));
    for (int first_tile = 0; first_tile < dim_tiles; first_tile += Columns::kMaxColumnTiles) {
      AddColumns(args, rows, pitch, row_count, first_tile, stream, hidden);
    }
  }

 private:
  static MVF_DEVICE void Normalize(const Args& args, const float* stream, int row_count, int pitch,
                                   Element* rows) {
    const int padded = args.up.depth_tiles * kTileDepth;
    for (int row = WarpIndex(); row < kBlockRows; row += kBlockWarps) {
      const float* from = stream + row * args.stride;
      RowMoments moments = {0.0f, 0.0f};
      if (row < row_count) moments = MomentsOf(from, args.dim, args.epsilon);
      for (int k = LaneIndex(); k < padded; k += kWarp) {
        const bool there = row < row_count && k < args.dim;
        rows[row * pitch + k] = Narrow<Element>(there ? (from[k] - moments.mean) * moments.scale : 0.0f);
      }
    }
  }

  static MVF_DEVICE void AddColumns(const Args& args, const Element* rows, int pitch, int row_count,
                                    int first_tile, float* stream, Element* hidden) {
    Columns sums(first_tile, args.dim);
    const int parts = static_cast<int>(DivideUp(args.hidden, kHidden));
    MVF_NO_UNROLL
    for (int part = 0; part < parts; ++part) {
      // Two buffers in turn: a slow warp may still read the one before.
      Element* buffer = hidden + part % 2 * kBlockRows * kHiddenPitch;
      Expand(args, rows, pitch, row_count, part, buffer);
      SyncBlock();
      const int left = args.down.depth_tiles - part * kHiddenTiles;
      sums.Add(buffer, kHiddenPitch, row_count, args.down, part * kHiddenTiles,
               left < kHiddenTiles ? left : kHiddenTiles);
    }
    sums.ForEach([&](int row, int column, float first, float second) {
      if (row >= row_count || column >= args.dim) return;
      float* to = stream + row * args.stride + column;
      to[0] += first + args.down.bias[column];
      if (column + 1 < args.dim) to[1] += second + args.down.bias[column + 1];
    });
    SyncBlock();  // whoever comes round again writes the buffers
  }

  static MVF_DEVICE void Expand(const Args& args, const Element* rows, int pitch, int row_count, int part,
                                Element* buffer) {
    using Part = BlockSums<Element, kHidden / kTileColumns / Columns::kTurn>;
    Part sums(part * kHidden / kTileColumns, (part + 1) * kHidden);
    sums.Add(rows, pitch, row_count, args.up, 0, args.up.depth_tiles);
    sums.ForEach([&](int row, int column, float first, float second) {
      StorePair(buffer + row * kHiddenPitch + (column - part * kHidden), Silu(first + args.up.bias[column]),
                Silu(second + args.up.bias[column + 1]));
    });
  }
};

}  // namespace mvf::cuda

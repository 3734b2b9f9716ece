// stream[m, :] += down(table(up(quantise(normalise(stream[m, :]))))), in place, along the lines of ffn-inl.h:
// a block keeps 64 rows; what they are expanded to exists in shared memory, 64 columns at a time.
#pragma once

#include "cuda/block_sums-inl.h"
#include "cuda/int8_packing.h"
#include "cuda/int8_rows-inl.h"

namespace mvf::cuda {

template <int kTiles>
struct Int8FfnKernel {
  using Product = Matrix<uint8_t>;
  using Columns = BlockSums<uint8_t, kTiles>;
  static constexpr int kThreads = kBlockWarps * kWarp;
  static constexpr int kBlocksPerMultiprocessor = 2;
  static constexpr int kHidden = Product::kPackedDepth;  // columns at a time
  static constexpr int kHiddenPitch = kHidden + kUnit<uint8_t>;

  struct Args {
    PackedInt8Matrix up;
    PackedInt8Matrix down;
    float* stream;
    int64_t stride;
    int64_t rows;
    int dim;
    bool whole;  // the stream allows sixteen bytes to be loaded at once
    float epsilon;
    Quantizer quantizer;
  };

  static int RowPitch(int depth_tiles) { return depth_tiles * Product::kPackedDepth + kUnit<uint8_t>; }
  static size_t SharedBytes(int depth_tiles) {
    return static_cast<size_t>(kBlockRows) * static_cast<size_t>(RowPitch(depth_tiles) + 2 * kHiddenPitch);
  }

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t first_row = BlockIndex() * kBlockRows;
    const int row_count =
        static_cast<int>(args.rows - first_row < kBlockRows ? args.rows - first_row : kBlockRows);
    const int pitch = args.up.depth_tiles * Product::kPackedDepth + kUnit<uint8_t>;
    auto* rows = reinterpret_cast<uint8_t*>(SharedMemory());
    uint8_t* hidden = rows + kBlockRows * pitch;
    float* stream = args.stream + first_row * args.stride;
    Quantize(args, stream, row_count, pitch, rows);
    SyncBlock();
    const int dim_tiles = Product::TilesOf(args.dim);
    for (int first_tile = 0; first_tile < dim_tiles; first_tile += Columns::kMaxColumnTiles) {
      AddColumns(args, rows, pitch, row_count, first_tile, stream, hidden);
    }
  }

 private:
  static MVF_DEVICE void Quantize(const Args& args, const float* stream, int row_count, int pitch,
                                  uint8_t* rows) {
    const int padded = args.up.depth_tiles * Product::kPackedDepth;
    for (int first = WarpIndex() * kWarpRows; first < kBlockRows; first += kBlockWarps * kWarpRows) {
      const int row = first + LaneIndex() / kRowLanes;
      const int count = row < row_count ? args.dim : 0;
      const float* from = stream + row * args.stride;
      const ByteMoments moments = ByteMomentsOf(from, count, args.dim, args.epsilon);
      for (int k = LaneIndex() % kRowLanes * 4; k < padded; k += 4 * kRowLanes) {
        StoreWord(rows + row * pitch + k,
                  QuantizeFour(from + k, count - k, args.whole, moments, args.quantizer));
      }
    }
  }

  static MVF_DEVICE void AddColumns(const Args& args, const uint8_t* rows, int pitch, int row_count,
                                    int first_tile, float* stream, uint8_t* hidden) {
    Columns sums(first_tile, args.dim);
    MVF_NO_UNROLL
    for (int part = 0; part < args.down.depth_tiles; ++part) {
      // Two buffers in turn: a slow warp may still read the one before.
      uint8_t* buffer = hidden + part % 2 * kBlockRows * kHiddenPitch;
      Expand(args, rows, pitch, row_count, part, buffer);
      SyncBlock();
      sums.Add(buffer, kHiddenPitch, row_count, args.down, part, 1);
    }
    sums.ForEach([&](int row, int column, int32_t first, int32_t second) {
      if (row >= row_count || column >= args.dim) return;
      float* to = stream + row * args.stride + column;
      const float left = args.down.columns.Scale(column, first);
      const float right = args.down.columns.Scale(column + 1, second);
      if (args.whole && column + 1 < args.dim) {
        const float2 before = LoadFloats(to);
        StoreFloats(to, Add(left, before.x), Add(right, before.y));
        return;
      }
      to[0] = Add(left, to[0]);
      if (column + 1 < args.dim) to[1] = Add(right, to[1]);
    });
    SyncBlock();  // whoever comes round again writes the buffers
  }

  static MVF_DEVICE void Expand(const Args& args, const uint8_t* rows, int pitch, int row_count, int part,
                                uint8_t* buffer) {
    using Part = BlockSums<uint8_t, kHidden / kTileColumns / Columns::kTurn>;
    Part sums(part * kHidden / kTileColumns, (part + 1) * kHidden);
    sums.Add(rows, pitch, row_count, args.up, 0, args.up.depth_tiles);
    const Int8Columns& columns = args.up.columns;
    const bool looks_up = *columns.has_table != 0;
    sums.ForEach([&](int row, int column, int32_t first, int32_t second) {
      StoreShort(buffer + row * kHiddenPitch + (column - part * kHidden),
                 columns.ToByte(column, first, looks_up) | columns.ToByte(column + 1, second, looks_up) << 8);
    });
  }
};

}  // namespace mvf::cuda

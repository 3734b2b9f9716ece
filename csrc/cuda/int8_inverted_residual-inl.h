// The 8-bit inverted residual, along the lines of inverted_residual-inl.h: a block computes a tile of output
// pixels, whose input lies in shared memory and is expanded 64 channels at a time.
#pragma once

#include "cuda/int8_packing.h"
#include "cuda/inverted_residual-inl.h"

namespace mvf::cuda {

template <int kTiles>
struct Int8InvertedResidualKernel {
  using Product = Matrix<uint8_t>;
  using Columns = BlockSums<uint8_t, kTiles>;
  static constexpr int kThreads = kBlockWarps * kWarp;
  static constexpr int kBlocksPerMultiprocessor = 2;
  static constexpr int kExpanded = Product::kPackedDepth;  // channels at a time
  static constexpr int kExpandedPitch = kExpanded + kUnit<uint8_t>;
  static constexpr int kOutputs = Columns::kMaxColumnTiles * kTileColumns;  // channels at a time
  static constexpr int kOutputPitch = kOutputs + kUnit<uint8_t>;

  struct Args {
    PackedInt8Matrix expand;
    PackedInt8Matrix project;
    Int8Columns depthwise;
    const int8_t* taps;  // [9][padded_channels]
    int padded_channels;
    const uint8_t* input;  // [images][height][width][in]
    uint8_t* output;       // [images][out_height][out_width][out]
    int height, width;
    int out_height, out_width;
    int tiles_down, tiles_across;
    int stride;
    int in, out;
    int unit;         // of the input: see CopyBytes16
    int output_unit;  // bytes of the output that can be stored at once: 16, 8, 4 or 1
    bool residual;
    float residual_multiplier;
    uint8_t expanded_zero;
    HaloTile tile;
  };

  // Shared memory: input pixels; which of them lie inside the map; their expansion and what the depthwise
  // convolution makes of it, where the output is gathered in the end.
  static size_t SharedBytes(int64_t in, const HaloTile& tile) {
    const auto halo = static_cast<size_t>((tile.halo_height * tile.halo_width + 15) / 16 * 16);
    const auto pitch = static_cast<size_t>(PadTo(in, Product::kPackedDepth) + kUnit<uint8_t>);
    const size_t hidden = (halo + kBlockRows) * kExpandedPitch, outputs = kBlockRows * kOutputPitch;
    return halo * (pitch + 1) + (hidden > outputs ? hidden : outputs);
  }

  static MVF_DEVICE void Run(const Args& args) { Int8InvertedResidualKernel(args).RunBlock(); }

 private:
  MVF_DEVICE explicit Int8InvertedResidualKernel(const Args& args)
      : args_(args), pitch_(args.expand.depth_tiles * Product::kPackedDepth + kUnit<uint8_t>) {
    const int64_t line = BlockIndex() / args.tiles_across;
    image_ = line / args.tiles_down;
    top_ = static_cast<int>(line - image_ * args.tiles_down) * args.tile.height;
    left_ = static_cast<int>(BlockIndex() - line * args.tiles_across) * args.tile.width;
    const int halo = args.tile.padded_halo();
    inside_ = halo * pitch_;
    expanded_ = inside_ + halo;
    depthwise_ = expanded_ + halo * kExpandedPitch;
  }

  // At that byte of shared memory; a place takes fewer registers than a pointer.
  static MVF_DEVICE uint8_t* At(int place) { return reinterpret_cast<uint8_t*>(SharedMemory()) + place; }

  MVF_DEVICE void RunBlock() {
    LoadHalo();
    CommitCopies();
    WaitCopies<0>();
    SyncBlock();
    const int column_tiles = Product::TilesOf(args_.out);
    for (int first_tile = 0; first_tile < column_tiles; first_tile += Columns::kMaxColumnTiles) {
      Columns sums(first_tile, args_.out);
      MVF_NO_UNROLL
      for (int part = 0; part < args_.project.depth_tiles; ++part) {
        Expand(part);
        SyncBlock();
        Depthwise(part);
        SyncBlock();
        sums.Add(At(depthwise_), kExpandedPitch, args_.tile.pixels(), args_.project, part, 1);
      }
      SyncBlock();  // everyone is done with what the output is written over
      Gather(sums, first_tile * kTileColumns);
      SyncBlock();
      Store(first_tile * kTileColumns);
      SyncBlock();
    }
  }

  MVF_DEVICE void LoadHalo() const {
    const int units = args_.expand.depth_tiles * Product::kPackedDepth / 16;
    for (int item = ThreadIndex(); item < args_.tile.padded_halo() * units; item += kThreads) {
      const int row = item / units, channel = (item - row * units) * 16;
      const int halo_y = row / args_.tile.halo_width;
      const int y = top_ * args_.stride - 1 + halo_y;
      const int x = left_ * args_.stride - 1 + (row - halo_y * args_.tile.halo_width);
      const bool inside = row < args_.tile.halo() && y >= 0 && y < args_.height && x >= 0 && x < args_.width;
      if (channel == 0) *At(inside_ + row) = inside;
      const uint8_t* pixel = args_.input;
      if (inside) pixel += ((image_ * args_.height + y) * args_.width + x) * args_.in;
      CopyBytes16(At(row * pitch_ + channel), pixel + channel, inside ? args_.in - channel : 0, args_.unit,
                  args_.input);
    }
  }

  // Units of 16 pixels and 32 channels, to each warp its own; a lane has eight channels of two pixels.
  MVF_DEVICE void Expand(int part) const {
    constexpr int kAcross = kExpanded / kRunColumns;
    const Int8Columns& columns = args_.expand.columns;
    const bool looks_up = *columns.has_table != 0;
    const int units = args_.tile.padded_halo() / 16 * kAcross;
    MVF_NO_UNROLL
    for (int unit = WarpIndex(); unit < units; unit += kBlockWarps) {
      const int first_row = unit / kAcross * 16;
      const int column_tile = (part * kAcross + unit % kAcross) * kRunTiles;
      Product::Total sums[kRunTiles];
      MVF_UNROLL
      for (int j = 0; j < kRunTiles; ++j) sums[j].Clear();
      MVF_NO_UNROLL
      for (int tile = 0; tile < args_.expand.depth_tiles; ++tile) {
        MVF_UNROLL
        for (int i = 0; i < Product::kPackedDepth / Product::kDepth; ++i) {
          Product::A rows;
          const int k = tile * Product::kPackedDepth + i * Product::kDepth;
          Product::LoadRows(rows, At(first_row * pitch_ + k), pitch_);
          MVF_UNROLL
          for (int j = 0; j < kRunTiles; ++j) {
            Product::B weights;
            Product::LoadPacked(weights, args_.expand.Tile(column_tile + j, tile), i);
            Product::Multiply(sums[j], rows, weights);
          }
        }
      }
      const int column = RunColumnOf(column_tile);
      MVF_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int row = first_row + SumsRow() + 8 * half;
        uint32_t bytes[kRun];
        MVF_UNROLL
        for (int c = 0; c < kRun; ++c) {
          // The depthwise convolution pads with its zero point, not with what such a pixel is expanded to.
          bytes[c] = *At(inside_ + row)
                         ? columns.ToByte(column + c, sums[c / 2].value[2 * half + c % 2], looks_up)
                         : args_.expanded_zero;
        }
        Store8(At(expanded_ + row * kExpandedPitch + column % kExpanded),
               {Word(bytes[0], bytes[1], bytes[2], bytes[3]), Word(bytes[4], bytes[5], bytes[6], bytes[7])});
      }
    }
  }

  // Taps or pixels of four channels, four to a word of each channel; of the ninth a word has all channels.
  struct Window {
    uint32_t quads[2][4];
    uint32_t last;

    // load(tap) gives a word of all channels.
    template <class Load>
    MVF_DEVICE explicit Window(Load&& load) : last(load(8)) {
      MVF_UNROLL
      for (int i = 0; i < 2; ++i) {
        MVF_UNROLL
        for (int tap = 0; tap < 4; ++tap) quads[i][tap] = load(4 * i + tap);
        TransposeBytes(quads[i]);
      }
    }
  };

  // Each thread keeps to four channels, whose taps it holds.
  MVF_DEVICE void Depthwise(int part) const {
    constexpr int kQuads = kExpanded / 4;
    const int channel = ThreadIndex() % kQuads * 4, column = part * kExpanded + channel;
    const bool looks_up = *args_.depthwise.has_table != 0;
    const Window taps([&](int tap) { return LoadWord(args_.taps + tap * args_.padded_channels + column); });
    for (int pixel = ThreadIndex() / kQuads; pixel < args_.tile.pixels(); pixel += kThreads / kQuads) {
      const int y = pixel / args_.tile.width, x = pixel - y * args_.tile.width;
      const int corner = (y * args_.tile.halo_width + x) * args_.stride;
      const Window pixels([&](int tap) {
        const int row = corner + tap / 3 * args_.tile.halo_width + tap % 3;
        return LoadWord(At(expanded_ + row * kExpandedPitch + channel));
      });
      uint32_t bytes[4];
      MVF_UNROLL
      for (int c = 0; c < 4; ++c) {
        int32_t sum = AddProducts(pixels.last, taps.last & 0xffu << (8 * c), 0);
        sum = AddProducts(pixels.quads[0][c], taps.quads[0][c], sum);
        sum = AddProducts(pixels.quads[1][c], taps.quads[1][c], sum);
        bytes[c] = args_.depthwise.ToByte(column + c, sum, looks_up);
      }
      StoreWord(At(depthwise_ + pixel * kExpandedPitch + channel),
                Word(bytes[0], bytes[1], bytes[2], bytes[3]));
    }
  }

  // Output pixels of the tile, from channel `first` on, to shared memory.
  MVF_DEVICE void Gather(const Columns& sums, int first) const {
    const bool looks_up = !args_.residual && *args_.project.columns.has_table != 0;
    sums.ForEach([&](int pixel, int column, int32_t left, int32_t right) {
      const int y = pixel / args_.tile.width, x = pixel - y * args_.tile.width;
      if (y >= args_.tile.height || column >= args_.out) return;
      // Of stride 1, where there is a residual: the pixel itself is the middle of its window.
      const uint8_t* middle = At(((y + 1) * args_.tile.halo_width + x + 1) * pitch_ + column);
      const uint32_t low = ToByte(column, left, middle, looks_up);
      const uint32_t high = ToByte(column + 1, right, middle + 1, looks_up);
      StoreShort(At(expanded_ + pixel * kOutputPitch + column - first), low | high << 8);
    });
  }

  // The same from there, in whole units.
  MVF_DEVICE void Store(int first) const {
    const int left = args_.out - first, channels = left < kOutputs ? left : kOutputs;
    const int units = channels / args_.output_unit;
    for (int item = ThreadIndex(); item < args_.tile.pixels() * units; item += kThreads) {
      const int pixel = item / units, c = (item - pixel * units) * args_.output_unit;
      const int tile_y = pixel / args_.tile.width;
      const int y = top_ + tile_y, x = left_ + (pixel - tile_y * args_.tile.width);
      if (y >= args_.out_height || x >= args_.out_width) continue;
      StoreBytes(
          args_.output + ((image_ * args_.out_height + y) * args_.out_width + x) * args_.out + first + c,
          At(expanded_ + pixel * kOutputPitch + c), args_.output_unit);
    }
  }

  MVF_DEVICE uint32_t ToByte(int column, int32_t sum, const uint8_t* middle, bool looks_up) const {
    const Int8Columns& columns = args_.project.columns;
    if (!args_.residual) return columns.ToByte(column, sum, looks_up);
    return RoundToByte(
        FusedMultiplyAdd(ToReal(*middle), args_.residual_multiplier, columns.Scale(column, sum)));
  }

  const Args& args_;
  const int pitch_;
  int64_t image_;
  int top_;
  int left_;
  int inside_;  // places in shared memory, behind the input
  int expanded_;
  int depthwise_;
};

}  // namespace mvf::cuda

// MobileNetV2's block with SiLU: e = silu(expand * input + bias), d = silu(dwconv3x3(e) + bias),
// output = project * d + bias (+ input).
//
// A block computes a tile of output pixels. The input pixels that the tile sees, a halo around it included,
// lie in shared memory; they are expanded 32 channels at a time, and what those give is added to sums in
// registers: the expanded map never exists in device memory.
#pragma once

#include "cuda/block_sums-inl.h"

namespace mvf::cuda {

// Output pixels of a block, and what of the input they see.
struct HaloTile {
  int height;
  int width;
  int halo_height;
  int halo_width;

  HaloTile() = default;
  HaloTile(int tile_height, int tile_width, int stride)
      : height(tile_height),
        width(tile_width),
        halo_height((tile_height - 1) * stride + 3),
        halo_width((tile_width - 1) * stride + 3) {}

  MVF_DEVICE int pixels() const { return height * width; }
  MVF_DEVICE int halo() const { return halo_height * halo_width; }
  MVF_DEVICE int padded_halo() const { return (halo() + 15) / 16 * 16; }
};

template <class ElementOf, int kTiles>
struct InvertedResidualKernel {
  using Element = ElementOf;
  using Product = Matrix<Element>;
  using Columns = BlockSums<Element, kTiles>;
  static constexpr int kThreads = kBlockWarps * kWarp;
  static constexpr int kBlocksPerMultiprocessor = sizeof(Element) == 2 ? 2 : 1;
  static constexpr int kExpanded = kTileDepth;  // channels at a time
  static constexpr int kExpandedPitch = kExpanded + kUnit<Element>;

  struct Args {
    PackedMatrix<Element> expand;
    PackedMatrix<Element> project;
    const float* taps;  // [9][padded_channels]
    const float* taps_bias;
    int padded_channels;
    const Element* input;  // [images][height][width][in]
    Element* output;       // [images][out_height][out_width][out]
    int height, width;
    int out_height, out_width;
    int tiles_down, tiles_across;
    int stride;
    int in, out;
    bool residual;
    bool whole_units;  // `in` and the input's address allow copies of sixteen bytes
    HaloTile tile;
  };

  // Shared memory: input pixels, their expansion, what the depthwise convolution makes of it, and which
  // pixels of the halo lie inside the map.
  static size_t SharedBytes(int64_t in, const HaloTile& tile) {
    const auto halo = static_cast<size_t>((tile.halo_height * tile.halo_width + 15) / 16 * 16);
    const auto pitch = static_cast<size_t>(PackedTiles(in) * kTileDepth + kUnit<Element>);
    return (halo * (pitch + kExpandedPitch) + kBlockRows * kExpandedPitch) * sizeof(Element) + halo;
  }

  static MVF_DEVICE void Run(const Args& args) { InvertedResidualKernel(args).RunBlock(); }

 private:
  MVF_DEVICE explicit InvertedResidualKernel(const Args& args)
      : args_(args), pitch_(args.expand.depth_tiles * kTileDepth + kUnit<Element>) {
    const int64_t line = BlockIndex() / args.tiles_across;
    const int64_t image = line / args.tiles_down;
    image_ = image;
    top_ = static_cast<int>(line - image * args.tiles_down) * args.tile.height;
    left_ = static_cast<int>(BlockIndex() - line * args.tiles_across) * args.tile.width;
    const int halo = args.tile.padded_halo();
    input_ = reinterpret_cast<Element*>(SharedMemory());
    expanded_ = input_ + halo * pitch_;
    depthwise_ = expanded_ + halo * kExpandedPitch;
    inside_ = reinterpret_cast<unsigned char*>(depthwise_ + kBlockRows * kExpandedPitch);
  }

  MVF_DEVICE void RunBlock() {
    LoadHalo();
    CommitCopies();
    WaitCopies<0>();
    SyncBlock();
    const int column_tiles = static_cast<int>(DivideUp(args_.out, kTileColumns));
    for (int first_tile = 0; first_tile < column_tiles; first_tile += Columns::kMaxColumnTiles) {
      Columns sums(first_tile, args_.out);
      MVF_NO_UNROLL
      for (int part = 0; part < args_.project.depth_tiles; ++part) {
        Expand(part);
        SyncBlock();
        Depthwise(part);
        SyncBlock();
        sums.Add(depthwise_, kExpandedPitch, args_.tile.pixels(), args_.project, part, 1);
      }
      Store(sums);
    }
  }

  MVF_DEVICE void LoadHalo() const {
    const int units = args_.expand.depth_tiles * kTileDepth / kUnit<Element>;
    const int halo = args_.tile.padded_halo();
    for (int item = ThreadIndex(); item < halo * units; item += kThreads) {
      const int row = item / units, channel = (item - row * units) * kUnit<Element>;
      const int halo_y = row / args_.tile.halo_width;
      const int y = top_ * args_.stride - 1 + halo_y;
      const int x = left_ * args_.stride - 1 + (row - halo_y * args_.tile.halo_width);
      const bool inside = row < args_.tile.halo() && y >= 0 && y < args_.height && x >= 0 && x < args_.width;
      if (channel == 0) inside_[row] = inside;
      Element* to = input_ + row * pitch_ + channel;
      const Element* pixel = args_.input;
      if (inside) pixel += ((image_ * args_.height + y) * args_.width + x) * args_.in;
      if (args_.whole_units) {
        const bool there = inside && channel < args_.in;
        CopyAsync<16>(to, there ? pixel + channel : args_.input, there);
      } else {
        for (int i = 0; i < kUnit<Element>; ++i) {
          to[i] = inside && channel + i < args_.in ? pixel[channel + i] : Element{};
        }
      }
    }
  }

  // Units of 16 pixels and 16 channels, to each warp its own.
  MVF_DEVICE void Expand(int part) const {
    const int units = args_.tile.padded_halo() / 16 * 2;
    MVF_NO_UNROLL
    for (int unit = WarpIndex(); unit < units; unit += kBlockWarps) {
      const int first_row = unit / 2 * 16, first_column = unit % 2 * 16;
      const int column_tile = (part * kExpanded + first_column) / kTileColumns;
      Sums sums[2];
      sums[0].Clear();
      sums[1].Clear();
      MVF_NO_UNROLL
      for (int tile = 0; tile < args_.expand.depth_tiles; ++tile) {
        MVF_UNROLL
        for (int i = 0; i < kTileDepth / Product::kDepth; ++i) {
          typename Product::A rows;
          typename Product::B left, right;
          Product::LoadPacked(left, args_.expand.Tile(column_tile, tile), i);
          Product::LoadPacked(right, args_.expand.Tile(column_tile + 1, tile), i);
          Product::LoadRows(rows, input_ + first_row * pitch_ + tile * kTileDepth + i * Product::kDepth,
                            pitch_);
          Product::Multiply(sums[0], rows, left);
          Product::Multiply(sums[1], rows, right);
        }
      }
      MVF_UNROLL
      for (int j = 0; j < 2; ++j) {
        const int column = first_column + j * kTileColumns + SumsColumn();
        const float* bias = args_.expand.bias + part * kExpanded + column;
        MVF_UNROLL
        for (int i = 0; i < 2; ++i) {
          const int row = first_row + SumsRow() + 8 * i;
          // The depthwise convolution pads with zeros, not with what a pixel of zeros is expanded to.
          const bool inside = inside_[row];
          StorePair(expanded_ + row * kExpandedPitch + column,
                    inside ? Silu(sums[j].value[2 * i] + bias[0]) : 0.0f,
                    inside ? Silu(sums[j].value[2 * i + 1] + bias[1]) : 0.0f);
        }
      }
    }
  }

  // Each thread keeps to two channels, whose taps it holds.
  MVF_DEVICE void Depthwise(int part) const {
    constexpr int kPairs = kExpanded / 2;
    const int channel = ThreadIndex() % kPairs * 2;
    const float* taps = args_.taps + part * kExpanded + channel;
    float2 weights[9];
    MVF_UNROLL
    for (int tap = 0; tap < 9; ++tap) weights[tap] = LoadFloats(taps + tap * args_.padded_channels);
    const float2 bias = LoadFloats(args_.taps_bias + part * kExpanded + channel);
    for (int pixel = ThreadIndex() / kPairs; pixel < args_.tile.pixels(); pixel += kThreads / kPairs) {
      const int y = pixel / args_.tile.width, x = pixel - y * args_.tile.width;
      const int corner = (y * args_.tile.halo_width + x) * args_.stride;
      float2 sum = bias;
      MVF_UNROLL
      for (int tap = 0; tap < 9; ++tap) {
        const int row = corner + tap / 3 * args_.tile.halo_width + tap % 3;
        const float2 value = LoadPair(expanded_ + row * kExpandedPitch + channel);
        sum.x += value.x * weights[tap].x;
        sum.y += value.y * weights[tap].y;
      }
      StorePair(depthwise_ + pixel * kExpandedPitch + channel, Silu(sum.x), Silu(sum.y));
    }
  }

  MVF_DEVICE void Store(const Columns& sums) const {
    sums.ForEach([&](int pixel, int column, float first, float second) {
      const int tile_y = pixel / args_.tile.width, tile_x = pixel - tile_y * args_.tile.width;
      const int y = top_ + tile_y, x = left_ + tile_x;
      if (tile_y >= args_.tile.height || y >= args_.out_height || x >= args_.out_width) return;
      if (column >= args_.out) return;
      first += args_.project.bias[column];
      second += args_.project.bias[column + 1];
      if (args_.residual) {  // stride 1: the pixel itself is the middle of its window
        const Element* middle =
            input_ + ((tile_y + 1) * args_.tile.halo_width + tile_x + 1) * pitch_ + column;
        const float2 added = LoadPair(middle);
        first += added.x;
        second += added.y;
      }
      Element* to =
          args_.output + ((image_ * args_.out_height + y) * args_.out_width + x) * args_.out + column;
      if (args_.out % 2 == 0) {
        StorePair(to, first, second);
      } else {
        to[0] = Narrow<Element>(first);
        if (column + 1 < args_.out) to[1] = Narrow<Element>(second);
      }
    });
  }

  const Args& args_;
  const int pitch_;
  int64_t image_;
  int top_;
  int left_;
  Element* input_;
  Element* expanded_;
  Element* depthwise_;
  unsigned char* inside_;
};

}  // namespace mvf::cuda

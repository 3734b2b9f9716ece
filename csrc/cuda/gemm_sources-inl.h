// Where the rows of a matrix product come from: each source brings a tile's depth of a block's rows into
// a stage of shared memory, in order of depth, zeros where there is nothing.
#pragma once

#include "cuda/row_moments-inl.h"

namespace mvf::cuda {

// A block's rows and columns: kWarpsDown x kWarpsAcross warps, each with kRowTiles x kColumnTiles sums.
template <int kWarpsDownOf, int kWarpsAcrossOf, int kRowTilesOf, int kColumnTilesOf>
struct GemmTile {
  static constexpr int kWarpsDown = kWarpsDownOf;
  static constexpr int kWarpsAcross = kWarpsAcrossOf;
  static constexpr int kRowTiles = kRowTilesOf;
  static constexpr int kColumnTiles = kColumnTilesOf;
  static constexpr int kThreads = kWarpsDown * kWarpsAcross * kWarp;
  static constexpr int kRows = kWarpsDown * kRowTiles * 16;
  static constexpr int kColumns = kWarpsAcross * kColumnTiles * kTileColumns;
};

// How the threads of a block share a stage: each brings the same sixteen bytes of several rows.
template <class Element, class Tile>
struct StageShare {
  static constexpr int kDepth = Matrix<Element>::kPackedDepth;
  static constexpr int kPitch = kDepth + kUnit<Element>;
  static constexpr int kUnits = kDepth / kUnit<Element>;
  static constexpr int kRowStep = Tile::kThreads / kUnits;
  static constexpr int kVisits = Tile::kRows / kRowStep;
  static_assert(Tile::kRows % kRowStep == 0, "threads must share the rows evenly");

  static MVF_DEVICE int Row(int visit) { return ThreadIndex() / kUnits + visit * kRowStep; }
  static MVF_DEVICE int Column() { return ThreadIndex() % kUnits * kUnit<Element>; }
  static MVF_DEVICE Element* Place(Element* stage, int visit) {
    return stage + Row(visit) * kPitch + Column();
  }
};

// Rows as they lie in memory.
template <class Element>
struct RowsArgs {
  const Element* data;
  int64_t stride;
  int64_t rows;
  int depth;
  bool whole_units;  // depth, stride and data allow copies of sixteen bytes
};

template <class Element, class Tile>
class RowsSource {
 public:
  using Share = StageShare<Element, Tile>;
  using Args = RowsArgs<Element>;
  static constexpr int kSharedBytes = 0;

  MVF_DEVICE RowsSource(const Args& args, int64_t first_row, char*) : args_(args), first_row_(first_row) {}

  MVF_DEVICE void Load(int tile, Element* stage) {
    const int k = tile * kTileDepth + Share::Column();
    MVF_UNROLL
    for (int visit = 0; visit < Share::kVisits; ++visit) {
      const int64_t row = first_row_ + Share::Row(visit);
      Element* to = Share::Place(stage, visit);
      const Element* from = args_.data + row * args_.stride + k;
      if (args_.whole_units) {
        const bool there = row < args_.rows && k < args_.depth;
        CopyAsync<16>(to, there ? from : args_.data, there);
      } else {
        for (int i = 0; i < kUnit<Element>; ++i) {
          to[i] = row < args_.rows && k + i < args_.depth ? from[i] : Element{};
        }
      }
    }
  }

 private:
  const Args& args_;
  const int64_t first_row_;
};

// Float rows brought to mean 0 and variance 1.
struct NormalizedArgs {
  const float* data;
  int64_t stride;
  int64_t rows;
  int depth;
  float epsilon;
};

template <class Element, class Tile>
class NormalizedSource {
 public:
  using Share = StageShare<Element, Tile>;
  using Args = NormalizedArgs;
  static constexpr int kSharedBytes = Tile::kRows * 2 * static_cast<int>(sizeof(float));

  MVF_DEVICE NormalizedSource(const Args& args, int64_t first_row, char* shared)
      : args_(args), first_row_(first_row), moments_(reinterpret_cast<float*>(shared)) {
    for (int row = WarpIndex(); row < Tile::kRows; row += Tile::kThreads / kWarp) {
      if (first_row_ + row >= args_.rows) break;
      const float* from = args_.data + (first_row_ + row) * args_.stride;
      const RowMoments moments = MomentsOf(from, args_.depth, args_.epsilon);
      if (LaneIndex() == 0) {
        moments_[2 * row] = moments.mean;
        moments_[2 * row + 1] = moments.scale;
      }
    }
    SyncBlock();
  }

  MVF_DEVICE void Load(int tile, Element* stage) {
    const int k = tile * kTileDepth + Share::Column();
    MVF_UNROLL
    for (int visit = 0; visit < Share::kVisits; ++visit) {
      const int row = Share::Row(visit);
      const bool there = first_row_ + row < args_.rows;
      Element* to = Share::Place(stage, visit);
      const float* from = args_.data + (first_row_ + row) * args_.stride + k;
      const float mean = there ? moments_[2 * row] : 0.0f, scale = there ? moments_[2 * row + 1] : 0.0f;
      MVF_UNROLL
      for (int i = 0; i < kUnit<Element>; i += 2) {
        const float first = there && k + i < args_.depth ? (from[i] - mean) * scale : 0.0f;
        const float second = there && k + i + 1 < args_.depth ? (from[i + 1] - mean) * scale : 0.0f;
        StorePair(to + i, first, second);
      }
    }
  }

 private:
  const Args& args_;
  const int64_t first_row_;
  float* moments_;
};

// The windows of a 3x3 convolution with padding 1, a row for each output pixel: depth runs over the taps,
// then over the channels that Pixels has. Pixels::Unit(n, y, x, c) gives sixteen bytes of neighbouring
// channels, Pixels::At one element; kOutside says that a map is surrounded by Pixels::Outside(c), of
// which StoreOutside writes sixteen bytes, and not by zeros.
template <class Pixels>
struct WindowArgs {
  Pixels pixels;
  int64_t rows;  // images * out_height * out_width
  int height;
  int width;
  int out_height;
  int out_width;
  int stride;
};

template <class Element, class Tile, class Pixels>
class WindowSource {
 public:
  using Share = StageShare<Element, Tile>;
  using Args = WindowArgs<Pixels>;
  static constexpr int kSharedBytes = 0;

  MVF_DEVICE WindowSource(const Args& args, int64_t first_row, char*)
      : args_(args), channel_(Share::Column()) {
    CarryChannels();
    MVF_UNROLL
    for (int visit = 0; visit < Share::kVisits; ++visit) {
      const int64_t row = first_row + Share::Row(visit);
      const int64_t line = row / args.out_width;
      const int x = static_cast<int>(row - line * args.out_width);
      const int64_t image = line / args.out_height;
      const int y = static_cast<int>(line - image * args.out_height);
      images_[visit] = static_cast<int>(image);
      // A row beyond the last looks at lines that are in no image.
      tops_[visit] = row < args.rows ? y * args.stride - 1 : -kFar;
      lefts_[visit] = x * args.stride - 1;
    }
  }

  // To be called for tiles 0, 1, ... in turn.
  MVF_DEVICE void Load(int, Element* stage) {
    MVF_UNROLL
    for (int visit = 0; visit < Share::kVisits; ++visit) {
      Element* to = Share::Place(stage, visit);
      if (Pixels::kHasUnits && args_.pixels.whole_units) {
        const int y = tops_[visit] + tap_ / 3, x = lefts_[visit] + tap_ % 3;
        const bool there = IsInside(tap_, y, x);
        if constexpr (Pixels::kOutside) {
          if (!there) {
            args_.pixels.StoreOutside(to, channel_);
            continue;
          }
        }
        CopyAsync<16>(to,
                      args_.pixels.Unit(there ? images_[visit] : 0, there ? y : 0, there ? x : 0,
                                        there ? channel_ : 0, args_.height, args_.width),
                      there);
      } else {
        LoadElements(visit, to);
      }
    }
    channel_ += Share::kDepth;
    CarryChannels();
  }

 private:
  static constexpr int kFar = 1 << 30;

  MVF_DEVICE bool IsInside(int tap, int y, int x) const {
    return tap < 9 && y >= 0 && y < args_.height && x >= 0 && x < args_.width;
  }

  MVF_DEVICE void CarryChannels() {
    while (channel_ >= args_.pixels.channels()) {
      channel_ -= args_.pixels.channels();
      ++tap_;
    }
  }

  MVF_DEVICE void LoadElements(int visit, Element* to) const {
    int tap = tap_, channel = channel_;
    for (int i = 0; i < kUnit<Element>; ++i) {
      const int y = tops_[visit] + tap / 3, x = lefts_[visit] + tap % 3;
      if (IsInside(tap, y, x)) {
        to[i] = args_.pixels.At(images_[visit], y, x, channel, args_.height, args_.width);
      } else if constexpr (Pixels::kOutside) {
        to[i] = args_.pixels.Outside(channel);
      } else {
        to[i] = Element{};
      }
      if (++channel == args_.pixels.channels()) {
        channel = 0;
        ++tap;
      }
    }
  }

  const Args& args_;
  int tap_ = 0;
  int channel_;
  int images_[Share::kVisits];
  int tops_[Share::kVisits];
  int lefts_[Share::kVisits];
};

// Pixels of one or two dense maps [images][height][width][channels], as if concatenated.
template <class Element>
struct MapPixels {
  static constexpr bool kHasUnits = true;
  static constexpr bool kOutside = false;
  const Element* first;
  const Element* second;
  int first_channels;
  int second_channels;
  bool whole_units;

  MVF_DEVICE int channels() const { return first_channels + second_channels; }
  MVF_DEVICE const Element* Unit(int image, int y, int x, int channel, int height, int width) const {
    const int64_t pixel = (static_cast<int64_t>(image) * height + y) * width + x;
    return channel < first_channels ? first + pixel * first_channels + channel
                                    : second + pixel * second_channels + (channel - first_channels);
  }
  MVF_DEVICE Element At(int image, int y, int x, int channel, int height, int width) const {
    return *Unit(image, y, x, channel, height, width);
  }
};

// Pixels of float images of any strides.
template <class Element>
struct ImagePixels {
  static constexpr bool kHasUnits = false;
  static constexpr bool kOutside = false;
  static constexpr bool whole_units = false;
  const float* data;
  int64_t image_stride;
  int64_t channel_stride;
  int64_t row_stride;
  int64_t column_stride;
  int image_channels;

  MVF_DEVICE int channels() const { return image_channels; }
  MVF_DEVICE const Element* Unit(int, int, int, int, int, int) const { return nullptr; }
  MVF_DEVICE Element At(int image, int y, int x, int channel, int, int) const {
    return Narrow<Element>(
        data[image * image_stride + channel * channel_stride + y * row_stride + x * column_stride]);
  }
};

template <class Element, class Tile>
using MapSource = WindowSource<Element, Tile, MapPixels<Element>>;
template <class Element, class Tile>
using ImageSource = WindowSource<Element, Tile, ImagePixels<Element>>;

}  // namespace mvf::cuda

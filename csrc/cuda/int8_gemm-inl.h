// Products of bytes by gemm-inl.h: where their rows come from, and what becomes of their sums.
#pragma once

#include "cuda/gemm-inl.h"
#include "cuda/int8_packing.h"
#include "cuda/int8_rows-inl.h"

namespace mvf::cuda {

// ---- rows -----------------------------------------------------------------------------------------------

// Rows of bytes as they lie in memory.
struct ByteRowsArgs {
  const uint8_t* data;
  int64_t stride;
  int64_t rows;
  int depth;
  int unit;  // see CopyBytes16
};

template <class Element, class Tile>
class ByteRowsSource {
 public:
  using Share = StageShare<Element, Tile>;
  using Args = ByteRowsArgs;
  static constexpr int kSharedBytes = 0;

  MVF_DEVICE ByteRowsSource(const Args& args, int64_t first_row, char*)
      : args_(args), first_row_(first_row) {}

  MVF_DEVICE void Load(int tile, uint8_t* stage) const {
    const int k = tile * Share::kDepth + Share::Column();
    MVF_UNROLL
    for (int visit = 0; visit < Share::kVisits; ++visit) {
      const int64_t row = first_row_ + Share::Row(visit);
      CopyBytes16(Share::Place(stage, visit), args_.data + row * args_.stride + k,
                  row < args_.rows ? args_.depth - k : 0, args_.unit, args_.data);
    }
  }

 private:
  const Args& args_;
  const int64_t first_row_;
};

// Rows of floats, perhaps normalised, quantised on the way.
struct QuantizedRowsArgs {
  const float* data;
  int64_t stride;
  int64_t rows;
  int depth;
  bool whole;  // strides and data allow sixteen bytes to be loaded at once
  bool normalize;
  float epsilon;
  Quantizer quantizer;
};

template <class Element, class Tile>
class QuantizedRowsSource {
 public:
  using Share = StageShare<Element, Tile>;
  using Args = QuantizedRowsArgs;
  static constexpr int kSharedBytes = Tile::kRows * static_cast<int>(sizeof(ByteMoments));

  MVF_DEVICE QuantizedRowsSource(const Args& args, int64_t first_row, char* shared)
      : args_(args), first_row_(first_row), moments_(reinterpret_cast<ByteMoments*>(shared)) {
    constexpr int kStep = Tile::kThreads / kRowLanes;
    static_assert(Tile::kRows % kWarpRows == 0, "a warp takes whole rows");
    for (int first = WarpIndex() * kWarpRows; first < Tile::kRows; first += kStep) {
      const int row = first + LaneIndex() / kRowLanes;
      const bool there = first_row_ + row < args_.rows;
      ByteMoments moments = {0.0f, 1.0f};
      if (args_.normalize) {
        moments = ByteMomentsOf(args_.data + (first_row_ + row) * args_.stride, there ? args_.depth : 0,
                                args_.depth, args_.epsilon);
      }
      if (LaneIndex() % kRowLanes == 0) moments_[row] = moments;
    }
    SyncBlock();
  }

  MVF_DEVICE void Load(int tile, uint8_t* stage) const {
    const int k = tile * Share::kDepth + Share::Column();
    MVF_UNROLL
    for (int visit = 0; visit < Share::kVisits; ++visit) {
      const int row = Share::Row(visit);
      const int count = first_row_ + row < args_.rows ? args_.depth - k : 0;
      const float* from = args_.data + (first_row_ + row) * args_.stride + k;
      const ByteMoments moments = moments_[row];
      uint32_t words[4];
      MVF_UNROLL
      for (int i = 0; i < 4; ++i) {
        words[i] = QuantizeFour(from + 4 * i, count - 4 * i, args_.whole, moments, args_.quantizer);
      }
      Store16(Share::Place(stage, visit), {words[0], words[1], words[2], words[3]});
    }
  }

 private:
  const Args& args_;
  const int64_t first_row_;
  ByteMoments* moments_;
};

// Pixels of one or two maps of bytes; what surrounds them is their zero points.
struct BytePixels : MapPixels<uint8_t> {
  static constexpr bool kOutside = true;
  uint8_t first_zero;
  uint8_t second_zero;

  MVF_DEVICE uint8_t Outside(int channel) const {
    return channel < first_channels ? first_zero : second_zero;
  }
  MVF_DEVICE void StoreOutside(uint8_t* to, int channel) const { StoreSame(to, Outside(channel)); }
};

// Pixels of float images of any strides, quantised on the way.
struct QuantizedPixels {
  static constexpr bool kHasUnits = false;
  static constexpr bool kOutside = true;
  static constexpr bool whole_units = false;
  const float* data;
  int64_t image_stride;
  int64_t channel_stride;
  int64_t row_stride;
  int64_t column_stride;
  int image_channels;
  uint8_t zero;
  Quantizer quantizer;

  MVF_DEVICE int channels() const { return image_channels; }
  MVF_DEVICE const uint8_t* Unit(int, int, int, int, int, int) const { return nullptr; }
  MVF_DEVICE uint8_t At(int image, int y, int x, int channel, int, int) const {
    return static_cast<uint8_t>(quantizer(
        data[image * image_stride + channel * channel_stride + y * row_stride + x * column_stride]));
  }
  MVF_DEVICE uint8_t Outside(int) const { return zero; }
  MVF_DEVICE void StoreOutside(uint8_t* to, int channel) const { StoreSame(to, Outside(channel)); }
};

template <class Element, class Tile>
using ByteMapSource = WindowSource<Element, Tile, BytePixels>;
template <class Element, class Tile>
using QuantizedImageSource = WindowSource<Element, Tile, QuantizedPixels>;

// ---- sums -----------------------------------------------------------------------------------------------

enum class Int8Output { kBytes, kFloats, kSums };

// A lane has eight neighbouring columns of a row.
struct Int8Epilogue {
  Int8Columns ends;
  void* output;  // bytes, floats or sums
  int64_t output_stride;
  const float* residual;  // of floats, or null
  int64_t residual_stride;
  int64_t rows;
  int columns;
  Int8Output kind;
  bool runs;  // eight neighbours can be moved at once

  template <int kRowTiles, int kColumnTiles>
  MVF_DEVICE void StoreAll(int64_t first_row, int column_tile,
                           const SumsOf<int32_t> (&sums)[kRowTiles][kColumnTiles]) const {
    static_assert(kColumnTiles == kRunTiles, "a warp has the tiles that share columns");
    const int column = RunColumnOf(column_tile);
    if (column >= columns) return;
    const bool looks_up = *ends.has_table != 0;
    MVF_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      MVF_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int64_t row = first_row + i * 16 + SumsRow() + 8 * half;
        if (row >= rows) continue;
        int32_t run[kRun];
        MVF_UNROLL
        for (int c = 0; c < kRun; ++c) run[c] = sums[i][c / 2].value[2 * half + c % 2];
        Store(row, column, run, looks_up);
      }
    }
  }

 private:
  MVF_DEVICE void Store(int64_t row, int column, const int32_t (&run)[kRun], bool looks_up) const {
    const int64_t place = row * output_stride + column;
    if (kind == Int8Output::kBytes) {
      StoreBytes(static_cast<uint8_t*>(output) + place, column, run, looks_up);
    } else if (kind == Int8Output::kFloats) {
      StoreFloatRun(static_cast<float*>(output) + place,
                    residual ? residual + row * residual_stride + column : nullptr, column, run);
    } else {
      for (int c = 0; c < kRun && column + c < columns; ++c) {
        static_cast<int32_t*>(output)[place + c] = run[c] + ends.sums[column + c];
      }
    }
  }

  MVF_DEVICE void StoreBytes(uint8_t* to, int column, const int32_t (&run)[kRun], bool looks_up) const {
    uint32_t bytes[kRun];
    MVF_UNROLL
    for (int c = 0; c < kRun; ++c) bytes[c] = ends.ToByte(column + c, run[c], looks_up);
    if (runs) {
      Store8(to,
             {Word(bytes[0], bytes[1], bytes[2], bytes[3]), Word(bytes[4], bytes[5], bytes[6], bytes[7])});
      return;
    }
    MVF_UNROLL
    for (int c = 0; c < kRun; ++c) {
      if (column + c < columns) to[c] = static_cast<uint8_t>(bytes[c]);
    }
  }

  MVF_DEVICE void StoreFloatRun(float* to, const float* from, int column, const int32_t (&run)[kRun]) const {
    MVF_UNROLL
    for (int c = 0; c < kRun; c += 2) {
      const float first = ends.Scale(column + c, run[c]), second = ends.Scale(column + c + 1, run[c + 1]);
      if (runs) {
        const float2 added = from ? LoadFloats(from + c) : float2{0.0f, 0.0f};
        StoreFloats(to + c, from ? Add(first, added.x) : first, from ? Add(second, added.y) : second);
        continue;
      }
      if (column + c < columns) to[c] = from ? Add(first, from[c]) : first;
      if (column + c + 1 < columns) to[c + 1] = from ? Add(second, from[c + 1]) : second;
    }
  }
};

template <class Tile, template <class, class> class Source>
using Int8GemmKernel = GemmKernel<uint8_t, Tile, Source, PackedInt8Matrix, Int8Epilogue>;

}  // namespace mvf::cuda

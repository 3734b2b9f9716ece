// Rings of rows of pixels, one ring for each vector of channels: what a depthwise convolution reads, padded
// at all sides. A row lies in units, as the depthwise loop multiplies them.
#pragma once

namespace mvf {
namespace {

// Elements from one unit of a vector of channels to the next.
template <class Dot>
constexpr int64_t kUnitElements = Dot::kUnit* Vec::kLanes;

template <class Dot>
struct PixelRing {
  using Element = typename Dot::Element;
  using Unit = typename Dot::Unit;

  int64_t height;  // of the map
  int64_t width;
  int64_t stride;  // of the convolution
  int64_t slots;   // rows that it holds
  int64_t row;     // elements of a row: a unit of padding, the pixels, padding to whole groups and one unit
  int64_t vectors;
  Element* data;  // a row of padding, then the rings

  PixelRing(const Map& input, int64_t out_width, int64_t channels, int64_t conv_stride, int64_t held_rows,
            void* memory)
      : height(input.height),
        width(input.width),
        stride(conv_stride),
        slots(held_rows),
        row((2 * Dot::kUnit + conv_stride * RoundUp(out_width, kPixelGroup)) * Vec::kLanes),
        vectors(ColumnVectors(channels)),
        data(static_cast<Element*>(memory)) {}

  size_t Bytes() const { return static_cast<size_t>((1 + vectors * slots) * row) * sizeof(Element); }
  int64_t VectorElements() const { return slots * row; }

  // Row y of the map, from its first pixel on.
  Element* Row(int64_t vector, int64_t y) const {
    return data + (1 + vector * slots + y % slots) * row + kUnitElements<Dot>;
  }

  // The rows under output row y, and the one that output row y + 1 needs beside them at stride 1.
  struct Rows {
    const Unit* at[4];
  };
  Rows Under(int64_t vector, int64_t y) const {
    Rows rows;
    for (int i = 0; i < 4; ++i) {
      const int64_t in_y = y * stride - 1 + i;
      const bool padding = in_y < 0 || in_y >= height;
      const Element* const first = padding ? data + kUnitElements<Dot> : Row(vector, in_y);
      rows.at[i] = reinterpret_cast<const Unit*>(first);
    }
    return rows;
  }

  // Pixels never touch the padding, so that this is done once.
  void FillPadding(int32_t zero) const {
    const Element element = static_cast<Element>(zero ^ kStoredLess<Dot>);
    Fill(data, row, element);
    const int64_t behind = (1 + width / Dot::kUnit) * kUnitElements<Dot>;
    for (int64_t i = 1; i <= vectors * slots; ++i) {
      Fill(data + i * row, kUnitElements<Dot>, element);
      Fill(data + i * row + behind, row - behind, element);
    }
  }

 private:
  static void Fill(Element* to, int64_t count, Element value) {
    for (int64_t i = 0; i < count; ++i) to[i] = value;
  }
};

// Four pixels, in blocks, to a row of the ring, whose pixel x is a multiple of four. Of the last pixels there
// are fewer.
template <class Dot>
MVF_INLINE void StoreToRing(ByteVec blocks, int64_t x, typename Dot::Element* row) {
  Dot::StorePixels(blocks, row + x * Vec::kLanes);
}
template <class Dot>
void StoreSomeToRing(ByteVec blocks, int64_t x, int64_t count, typename Dot::Element* row) {
  constexpr int64_t kUnit = Dot::kUnit;
  typename Dot::Element pixels[ByteVec::kBytes];
  Dot::StorePixels(blocks, pixels);
  const auto place = [](int64_t pixel, int64_t lane) {
    return (pixel / kUnit * Vec::kLanes + lane) * kUnit + pixel % kUnit;
  };
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t lane = 0; lane < Vec::kLanes; ++lane) row[place(x + i, lane)] = pixels[place(i, lane)];
  }
}

// Epilogue of a matrix multiply whose rows are the pixels of a row of the map and whose columns are the
// channels of up to three vectors.
template <class Dot>
struct RingEpilogue {
  typename Dot::Element* row;  // of the first vector
  int64_t vector_elements;
  ByteTable table;

  template <int kRows, int kVectors>
  MVF_INLINE void operator()(IntVec (&sum)[kRows][kVectors], const void* header, int64_t x, int64_t,
                             int) const {
    static_assert(kRows < kPixelGroup || kRows % kPixelGroup == 0, "a tile is whole groups or part of one");
    constexpr int kGroups = (kRows + kPixelGroup - 1) / kPixelGroup;
    // By numbers that the compiler knows from the beginning: it would keep the sums in memory for a loop.
    ForEachLane<kVectors * kGroups>([&](auto place) __attribute__((always_inline)) {
      constexpr int j = decltype(place)::kValue / kGroups,
                    i = decltype(place)::kValue % kGroups * kPixelGroup;
      const Vec multiplier = MultiplierOf<kVectors>(header, j);
      const float* const offset = OffsetOf<kVectors>(header, j);
      const auto at = [&](int k) __attribute__((always_inline)) {
        return Round(FusedMulAdd(ToFloat(sum[i + k < kRows ? i + k : i][j]), multiplier, offset));
      };
      const ByteVec bytes = table(ByteVec::PackBlocks(at(0), at(1), at(2), at(3)));
      typename Dot::Element* const to = row + j * vector_elements;
      if constexpr (kRows >= kPixelGroup) {
        StoreToRing<Dot>(bytes, x + i, to);
      } else {
        StoreSomeToRing<Dot>(bytes, x, kRows, to);
      }
    });
  }
};

}  // namespace
}  // namespace mvf

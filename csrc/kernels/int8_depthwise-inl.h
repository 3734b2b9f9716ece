// The arithmetic of an 8-bit depthwise 3x3 convolution. A row of one vector of channels lies in units of
// Dot::kUnit pixels, channel by channel, so that a unit is multiplied by as many taps at once; four pixels of
// output come out of a few units.
#pragma once

namespace mvf {
namespace {

// Pixels of output that are computed at once: as many vectors of sums as a ByteVec holds.
constexpr int kPixelGroup = 4;

// Vectors of taps for one row of the kernel: its three taps at each place in their units where they are
// needed.
template <class Dot>
constexpr int kTapVectors = Dot::kUnit == 4 ? 2 : 4;

// The tap that is the first of a vector's units; what is no tap (-1, 3, ...) is a zero.
template <class Dot>
constexpr int FirstTap(int vector) {
  static_assert(Dot::kUnit == 4 || Dot::kUnit == 2, "a unit is four pixels or two");
  if (Dot::kUnit == 4) return -vector;
  constexpr int kOfPairs[] = {-1, 1, 0, 2};
  return kOfPairs[vector];
}

// One vector of channels, packed: a header like a panel's, then the vectors of taps row by row.
template <class Dot>
constexpr int64_t kInt8DepthwiseVectors = kHeaderRows<Dot> + 3 * kTapVectors<Dot>;

// Packs `channels` channels from `first` on. What is outside of the map is `zero`, as the inputs' zero point.
template <class Dot>
void PackInt8Depthwise(const Int8Weights& weights, const Requantization& requantization, int32_t zero,
                       int64_t channels, int64_t first, void* packed) {
  using Unit = typename Dot::Unit;
  static_assert(sizeof(Unit) == sizeof(float), "a header holds floats and sums alike");
  Unit* const units = static_cast<Unit*>(packed);
  __builtin_memset(units, 0, kInt8DepthwiseVectors<Dot> * Vec::kLanes * sizeof(Unit));
  for (int64_t i = 0; i < Vec::kLanes && first + i < channels; ++i) {
    const int64_t c = first + i;
    int8_t taps[9];
    for (int64_t tap = 0; tap < 9; ++tap) taps[tap] = weights.weight[tap * channels + c];
    PackInt8Header(weights.bias, requantization, (kStoredLess<Dot> - zero) * SumOfWeights(taps, 9), c,
                   Vec::kLanes, units + i);
    for (int row = 0; row < 3; ++row) {
      for (int vector = 0; vector < kTapVectors<Dot>; ++vector) {
        int8_t unit[Dot::kUnit];
        for (int k = 0; k < Dot::kUnit; ++k) {
          const int tap = FirstTap<Dot>(vector) + k;
          unit[k] = tap < 0 || tap > 2 ? int8_t{0} : taps[3 * row + tap];
        }
        const int64_t at = kHeaderRows<Dot> + kTapVectors<Dot> * row + vector;
        units[at * Vec::kLanes + i] = Dot::PackUnit(unit, Dot::kUnit);
      }
    }
  }
}

// Windows on one input row for four pixels of output: `at` is the unit that holds the pixel under the
// kernel's middle column for the first of them.
template <class Dot, int kStride>
struct Windows {
  static constexpr bool kPairs = Dot::kUnit == 2;
  static constexpr int kCount = kPairs ? (kStride == 1 ? 4 : 5) : (kStride == 1 ? 2 : 4);
  IntVec window[kCount];

  MVF_INLINE explicit Windows(const typename Dot::Unit* at) {
    const auto load = [&](int unit) { return Dot::LoadPanel(at + unit * Vec::kLanes); };
    if constexpr (kPairs) {
#pragma GCC unroll 5
      for (int i = 0; i < kCount; ++i) window[i] = load(i - 1);
    } else {
      const IntVec middle = load(0), next = load(1);
      window[0] = Dot::PixelBefore(load(-1), middle);
      if constexpr (kStride == 1) {
        window[1] = Dot::PixelAfter(middle, next);
      } else {
        window[1] = middle;
        window[2] = Dot::PixelBefore(middle, next);
        window[3] = next;
      }
    }
  }

  // Adds their products with the taps of a row of the kernel.
  MVF_INLINE void AddTo(IntVec (&sum)[kPixelGroup], const IntVec* taps) const {
    const auto add = [&](int pixel, int at, int vector) {
      sum[pixel] = Dot::MulAdd(window[at], taps[vector], sum[pixel]);
    };
#pragma GCC unroll 4
    for (int i = 0; i < kPixelGroup; ++i) {
      if constexpr (kPairs && kStride == 1) {
        add(i, i / 2 + i % 2, i % 2 * 2);
        add(i, i / 2 + i % 2 + 1, i % 2 * 2 + 1);
      } else if constexpr (kPairs) {
        add(i, i, 0);
        add(i, i + 1, 1);
      } else {
        add(i, kStride == 1 ? i / 2 : i, i % 2);
      }
    }
  }
};

// Where pixels of a map go: `lanes` channels of each.
struct MapPixels {
  uint8_t* data;
  int64_t row_stride;
  int64_t stride;
  int lanes;

  // Pixels [x, x + count) of a row, at most four.
  MVF_INLINE void Store(ByteVec pixels, int64_t row, int64_t x, int64_t count) const {
    uint8_t* const to = data + row * row_stride + x * stride;
    if (lanes == Vec::kLanes && count >= kPixelGroup) {
      pixels.template StoreQuarters<0, 1>(to);
      pixels.template StoreQuarters<1, 1>(to + stride);
      pixels.template StoreQuarters<2, 1>(to + 2 * stride);
      pixels.template StoreQuarters<3, 1>(to + 3 * stride);
      return;
    }
    uint8_t bytes[ByteVec::kBytes];
    pixels.Store(bytes);
    for (int64_t i = 0; i < Min(count, kPixelGroup); ++i) {
      __builtin_memcpy(to + i * stride, bytes + i * Vec::kLanes, static_cast<size_t>(lanes));
    }
  }
};

// kRows rows of `width` pixels of output from the kRows + 2 rows under the kernel (one, or at stride 1 two),
// to to.Store(pixels, row, x, pixels left).
template <class Dot, int kStride, int kRows, class Pixels>
__attribute__((noinline)) void Int8DepthwiseRows(const typename Dot::Unit* const* rows, int64_t width,
                                                 const void* packed, const uint8_t* table, Pixels to) {
  constexpr int kTaps = kTapVectors<Dot>;
  const ByteTable function(table);
  const typename Dot::Unit* const units = static_cast<const typename Dot::Unit*>(packed);
  IntVec taps[3 * kTaps];
#pragma GCC unroll 12
  for (int i = 0; i < 3 * kTaps; ++i) taps[i] = Dot::LoadPanel(units + (kHeaderRows<Dot> + i) * Vec::kLanes);
  const int32_t* const bias = static_cast<const int32_t*>(packed);
  const Vec multiplier = MultiplierOf<1>(packed, 0);
  const float* const offset = OffsetOf<1>(packed, 0);
  for (int64_t x = 0; x < width; x += kPixelGroup) {
    const int64_t at = x * kStride / Dot::kUnit * Vec::kLanes;
    IntVec sum[kRows][kPixelGroup];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < kPixelGroup; ++i) sum[r][i] = IntVec::LoadAgain(bias);
    }
#pragma GCC unroll 4
    for (int y = 0; y < kRows + 2; ++y) {
      const Windows<Dot, kStride> windows(rows[y] + at);
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
        if (r <= y && y <= r + 2) windows.AddTo(sum[r], taps + kTaps * (y - r));
      }
    }
    ByteVec bytes[kRows];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < kPixelGroup; ++i) {
        Pin(sum[r][i]);
        sum[r][i] = Round(FusedMulAdd(ToFloat(sum[r][i]), multiplier, offset));
      }
      bytes[r] = ByteVec::PackBlocks(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    }
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) to.Store(function(bytes[r]).BlocksInOrder(), r, x, width - x);
  }
}

}  // namespace
}  // namespace mvf

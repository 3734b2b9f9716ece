// Rows on their way into the 8-bit multiply: copied or widened to the elements that its dot policy reads, and
// before that, where they are float, perhaps normalised, and quantised.
#pragma once

namespace mvf {
namespace {

// What staged bytes are less: nothing, or 128, which is their uppermost bit's change.
template <class Dot>
constexpr uint8_t kStoredLess = RowUnits<Dot>::kStoredLess;

// Whether the elements of rows are bytes, and whether a row of bytes can be multiplied where it lies.
constexpr bool kReadsBytes = sizeof(Int8Dot::Element) == 1;
constexpr bool kReadsInPlace = kReadsBytes && kStoredLess<Int8Dot> == 0;

// Elements of a staged row: whole units.
constexpr int64_t Int8Stride(int64_t channels) { return StagedStride<Int8Dot>(channels); }

// `count` bytes as Dot reads them, and zeros behind them up to `padded`. `to` may be `from`.
template <class Dot>
void StageBytes(const uint8_t* from, int64_t count, int64_t padded, typename Dot::Element* to) {
  int64_t c = 0;
  if constexpr (kStoredLess<Dot> != 0) {
    for (; c + ByteVec::kBytes <= count; c += ByteVec::kBytes) {
      Dot::StoreElements(ByteVec::Load(from + c), to + c);
    }
    for (; c < count; ++c) to[c] = from[c] ^ kStoredLess<Dot>;
  } else if constexpr (kReadsBytes) {
    __builtin_memcpy(to, from, static_cast<size_t>(count));
    c = count;
  } else {
    for (; c + Dot::kWidened <= count; c += Dot::kWidened) Dot::Widen(from + c, to + c);
    for (; c < count; ++c) to[c] = from[c];
  }
  for (; c < padded; ++c) to[c] = 0;
}

// What is left to do where a row's `count` bytes are in place.
template <class Dot>
void FinishBytes(int64_t count, int64_t padded, uint8_t* row) {
  if constexpr (kStoredLess<Dot> != 0) return StageBytes<Dot>(row, count, padded, row);
  for (int64_t c = count; c < padded; ++c) row[c] = 0;
}

// byte = clamp(round(fma(value, inverse_scale, zero)), 0, 255)
struct Quantizer {
  float inverse_scale;
  float zero;

  static Quantizer Of(float scale, int32_t zero) { return {1.0f / scale, static_cast<float>(zero)}; }
};

constexpr float kByteMax = 255.0f;

// What a row has subtracted from it and is multiplied by before it is quantised.
inline RowMoments MomentsOrNone(bool normalize, const float* row, int64_t channels, float epsilon) {
  if (normalize) return Moments(row, channels, epsilon);
  return {Vec::Zero(), Vec::Set(1.0f)};
}

MVF_INLINE Vec Normalized(Vec x, const RowMoments& moments) {
  return Mul(Sub(x, moments.mean), moments.inverse_deviation);
}

// The bytes of value(first channel, lanes) for all vectors of a row.
template <class Value>
MVF_INLINE void StoreQuantized(int64_t channels, Quantizer quantizer, uint8_t* to, Value value) {
  const Vec inverse_scale = Vec::Set(quantizer.inverse_scale), zero = Vec::Set(quantizer.zero);
  const auto scaled = [&](int64_t c, auto lanes) __attribute__((always_inline)) {
    return FusedMulAdd(value(c, lanes), inverse_scale, zero);
  };
  int64_t c = 0;
  for (; c + ByteVec::kBytes <= channels; c += ByteVec::kBytes) {
    IntVec part[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) part[i] = RoundToByte(scaled(c + i * Vec::kLanes, AllLanes{}));
    ByteVec::Pack(part[0], part[1], part[2], part[3]).Store(to + c);
  }
  ForEachVector(c, channels, [&](int64_t at, auto lanes) { lanes.Store(scaled(at, lanes), to + at); });
}

// By itself, for the library's size.
__attribute__((noinline)) inline void QuantizeRow(const float* from, int64_t channels, RowMoments moments,
                                                  Quantizer quantizer, uint8_t* to) {
  StoreQuantized(
      channels, quantizer, to, [&](int64_t c, auto lanes) __attribute__((always_inline)) {
        return Normalized(lanes.Load(from + c), moments);
      });
}

// The same as elements, and zeros behind them up to `padded`. `bytes` is room for a row where it must be
// widened.
template <class Dot>
void QuantizeAndStage(const float* from, int64_t channels, RowMoments moments, Quantizer quantizer,
                      uint8_t* bytes, int64_t padded, typename Dot::Element* to) {
  if constexpr (kReadsBytes) {
    QuantizeRow(from, channels, moments, quantizer, to);
    FinishBytes<Dot>(channels, padded, to);
  } else {
    QuantizeRow(from, channels, moments, quantizer, bytes);
    StageBytes<Dot>(bytes, channels, padded, to);
  }
}

struct ScaleAndZero {
  float scale;
  int32_t zero;
};

// Of the range from a row's least to its greatest value, and 0.
inline ScaleAndZero ScaleOfRow(const float* from, int64_t channels, RowMoments moments) {
  Vec above = Vec::Zero(), below = Vec::Zero();
  ForEachVector(0, channels, [&](int64_t c, auto lanes) {
    const Vec x = lanes.Fill(Normalized(lanes.Load(from + c), moments), 0.0f);
    above = Max(above, x);
    below = Max(below, Sub(Vec::Zero(), x));
  });
  const float low = ReduceMax(below);
  const float scale = (ReduceMax(above) + low) / kByteMax;
  constexpr float kLeastNormal = 0x1p-126f;  // below it a scale has no inverse
  if (!(scale >= kLeastNormal)) return {1.0f, 0};
  return {scale, static_cast<int32_t>(Max(0, Min(255, __builtin_lrintf(low / scale))))};
}

}  // namespace
}  // namespace mvf

// The 8-bit dot policy of NEON alone: products of signed bytes, which fit in 16 bits, are added in pairs.
#pragma once

namespace mvf {
namespace {

struct Int8Dot : SignedByteDot {
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    const int8x16_t row = vreinterpretq_s8_s32(a.v), column = vreinterpretq_s8_s32(b.v);
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(row), vget_low_s8(column)));
    const int32x4_t high = vpaddlq_s16(vmull_high_s8(row, column));
    return {vaddq_s32(sum.v, vpaddq_s32(low, high))};
  }
  // The sums of each lane's bytes, which have no sign here.
  static MVF_INLINE IntVec AddBytes(IntVec bytes, IntVec sum) {
    const uint16x8_t pairs = vpaddlq_u8(vreinterpretq_u8_s32(bytes.v));
    return {vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(sum.v), pairs))};
  }
};

template <>
constexpr bool kIsCompact<Int8Dot> = true;

// A vector of columns holds the first two bytes of each lane's unit, then the other two; a unit of a row is
// spread likewise. So a pair of products belongs to one lane, and no sum is left to form across lanes.
template <>
struct RowUnits<Int8Dot> {
  static constexpr int kUnits = 1;
  static constexpr int kStoredLess = 128;

  static MVF_INLINE IntVec Broadcast(const uint32_t* p) { return Spread<0>(LoadUnit(p)); }
  static MVF_INLINE IntVec LoadPanel(const uint32_t* p) {
    static constexpr uint8_t kByPairs[16] = {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15};
    return Shuffle(vreinterpretq_u8_u32(vld1q_u32(p)), kByPairs);
  }
  static MVF_INLINE IntVec MulAdd(IntVec row, IntVec column, IntVec sum) {
    return {vpadalq_s16(vpadalq_s16(sum.v, Products<0>(row, column)), Products<1>(row, column))};
  }
  // Of the first two bytes of each unit, or of the others.
  template <int kHalf>
  static MVF_INLINE int16x8_t Products(IntVec row, IntVec column) {
    const int8x16_t a = vreinterpretq_s8_s32(row.v), b = vreinterpretq_s8_s32(column.v);
    if constexpr (kHalf == 1) return vmull_high_s8(a, b);
    return vmull_s8(vget_low_s8(a), vget_low_s8(b));
  }
  template <int kLane>
  static MVF_INLINE IntVec MulAddLane(IntVec row, IntVec column, IntVec sum) {
    return MulAdd(Spread<kLane>(row), column, sum);
  }

  // A lane's unit as MulAdd multiplies by it.
  template <int kLane>
  static MVF_INLINE IntVec Spread(IntVec row) {
    constexpr uint8_t k = 4 * kLane;
    static constexpr uint8_t kOrder[16] = {k,     k + 1, k,     k + 1, k,     k + 1, k,     k + 1,
                                           k + 2, k + 3, k + 2, k + 3, k + 2, k + 3, k + 2, k + 3};
    return Shuffle(vreinterpretq_u8_s32(row.v), kOrder);
  }

 private:
  static MVF_INLINE IntVec Shuffle(uint8x16_t bytes, const uint8_t (&order)[16]) {
    return {vreinterpretq_s32_u8(vqtbl1q_u8(bytes, vld1q_u8(order)))};
  }
};

// A few rows at a time: first their products, then the sums, so that on processors that do not reorder
// instructions no sum waits for its product; meanwhile the next rows are read. Barriers keep that order, in
// which the registers suffice.
template <>
struct UnitProducts<Int8Dot> {
  template <int kRows, int kVectors, class UnitOf>
  static MVF_INLINE void Add(UnitOf unit_of, const IntVec (&column)[kVectors],
                             IntVec (&sum)[kRows][kVectors]) {
    IntVec row[kAtOnce<kVectors>];
    Read<0, kRows>(unit_of, row);
    Spread(row);
    AddFrom<0, kRows, kVectors>(unit_of, row, column, sum);
  }

 private:
  using Row = RowUnits<Int8Dot>;
  template <int kVectors>
  static constexpr int kAtOnce = kVectors == 1 ? 4 : 2;

  template <int kFirst, int kRows, class UnitOf, int kCount>
  static MVF_INLINE void Read(UnitOf unit_of, IntVec (&row)[kCount]) {
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      if (kFirst + i < kRows) row[i] = LoadUnit(unit_of(kFirst + i));
    }
  }
  template <int kCount>
  static MVF_INLINE void Spread(IntVec (&row)[kCount]) {
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) row[i] = Row::Spread<0>(row[i]);
  }

  // From row kFirst on; `row` has those that come first.
  template <int kFirst, int kRows, int kVectors, class UnitOf>
  static MVF_INLINE void AddFrom(UnitOf unit_of, const IntVec (&row)[kAtOnce<kVectors>],
                                 const IntVec (&column)[kVectors], IntVec (&sum)[kRows][kVectors]) {
    constexpr int kCount = Min(kAtOnce<kVectors>, kRows - kFirst), kNext = kFirst + kCount;
    int16x8_t first[kCount][kVectors], others[kCount][kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        first[i][j] = Row::Products<0>(row[i], column[j]);
        others[i][j] = Row::Products<1>(row[i], column[j]);
      }
    }
    IntVec next[kAtOnce<kVectors>] = {};
    Read<kNext, kRows>(unit_of, next);
    AddPairs<kFirst>(first, sum);
    asm volatile("");
    Spread(next);
    AddPairs<kFirst>(others, sum);
    asm volatile("");
    if constexpr (kNext < kRows) AddFrom<kNext, kRows, kVectors>(unit_of, next, column, sum);
  }
  template <int kFirst, int kCount, int kRows, int kVectors>
  static MVF_INLINE void AddPairs(const int16x8_t (&products)[kCount][kVectors],
                                  IntVec (&sum)[kRows][kVectors]) {
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        sum[kFirst + i][j].v = vpadalq_s16(sum[kFirst + i][j].v, products[i][j]);
      }
    }
  }
};

}  // namespace
}  // namespace mvf

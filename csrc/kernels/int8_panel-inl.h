// Panels of 8-bit weights: a header of three rows (bias, multiplier, offset), then the units of K.
#pragma once

namespace mvf {
namespace {

template <>
constexpr int64_t kHeaderRows<Int8Dot> = 3;

MVF_INLINE void LoadSum(const void* p, IntVec& sum) { sum = IntVec::Load(static_cast<const int32_t*>(p)); }

constexpr int64_t Int8Units(int64_t k) { return Units<Int8Dot>(k); }

// Slots (of four bytes) of all panels of a [columns][segments * units] matrix, and a walk over them.
constexpr int64_t Int8PanelSlots(int64_t columns, int64_t total_units) {
  return PanelSlots(columns, kHeaderRows<Int8Dot> - 1 + total_units);
}
template <class Visit>
MVF_INLINE void ForEachInt8Panel(int64_t columns, int64_t total_units, Visit visit) {
  ForEachPanel(columns, kHeaderRows<Int8Dot> - 1 + total_units, visit);
}

// Sums wrap around on every table.
inline int32_t AddWrapped(int32_t a, int64_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

inline int64_t SumOfWeights(const int8_t* weight, int64_t count) {
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += weight[i];
  return sum;
}

// A column's part of a header, whose rows lie `width` slots apart: the sum's start is the column's bias and
// `correction`, which is what the input's zero points add to the sum.
inline void PackInt8Header(const int32_t* bias, const Requantization& requantization, int64_t correction,
                           int64_t column, int64_t width, void* header) {
  const int32_t sum = AddWrapped(bias ? bias[column] : 0, correction);
  __builtin_memcpy(header, &sum, sizeof(sum));
  float* const rows = static_cast<float*>(header);
  rows[width] = requantization.multiplier[column];
  rows[2 * width] = requantization.offset ? requantization.offset[column] : 0.0f;
}

// Packs columns [first, first + columns) of weight(column, segment) -> pointer to that segment's K values,
// with zeros behind them up to `padded_k`.
template <class Weight, class Correction>
void PackInt8Panels(int64_t first, int64_t columns, int64_t segments, int64_t k, int64_t padded_k,
                    Weight weight, const int32_t* bias, const Requantization& requantization,
                    Correction correction, void* packed) {
  PackPanelsWithHeader<Int8Dot>(
      columns, segments, padded_k,
      [&](int64_t column, int64_t segment, int64_t at, int64_t) {
        const int64_t start = Min(at, k);
        return Int8Dot::PackUnit(weight(first + column, segment) + start, k - start);
      },
      [&](int64_t column, int64_t width, void* header) {
        int64_t offset = 0;
        for (int64_t segment = 0; segment < segments; ++segment) {
          offset += SumOfWeights(weight(first + column, segment), k);
        }
        offset *= RowUnits<Int8Dot>::kStoredLess;
        PackInt8Header(bias, requantization, correction(first + column) + offset, first + column, width,
                       header);
      },
      packed);
}

// What an epilogue needs beside the panels' headers; it lies ahead of the panels.
struct PackedEpilogue {
  uint8_t table[256];  // as ByteTable packs it
  int32_t has_table;
  Activation activation;  // of float output
  uint8_t padding[56];
};
static_assert(sizeof(PackedEpilogue) % kAlignment == 0, "panels start at a multiple of the alignment");

inline void PackEpilogue(const uint8_t* table, Activation activation, PackedEpilogue* packed) {
  *packed = {};
  packed->has_table = table ? 1 : 0;
  packed->activation = activation;
  if (table) ByteTable::Pack(table, packed->table);
}

// A table in any case: of the bytes themselves where there is none.
inline void PackTable(const uint8_t* table, PackedEpilogue* packed) {
  uint8_t bytes[256];
  for (int i = 0; i < 256; ++i) bytes[i] = static_cast<uint8_t>(i);
  PackEpilogue(table ? table : bytes, Activation::kNone, packed);
}

}  // namespace
}  // namespace mvf

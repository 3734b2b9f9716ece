// Weights of the 8-bit kernels as they read them, made on the host: tiles of fragments (int8_matrix.h), and
// for each column what makes an output of its sum.
#pragma once

#include <algorithm>
#include <cstring>

#include "cuda/int8_matrix.h"
#include "cuda/packing.h"
#include "kernels/int8_kernels.h"

namespace mvf::cuda {

// For each column, padded: what its sum begins with, and its multiplier and offset; then the table.
struct Int8ColumnPlaces {
  int64_t columns;
  int64_t start;  // bytes from the start of what is packed
  int64_t end;

  Int8ColumnPlaces(int64_t columns, int64_t start)
      : columns(columns),
        start(start),
        end(PadTo(start + 3 * Row() + kTableBytes + static_cast<int64_t>(sizeof(int32_t)), kAlignment)) {}

  static constexpr int64_t kTableBytes = 256;
  int64_t Row() const { return PackedColumns(columns) * static_cast<int64_t>(sizeof(float)); }
  int64_t Table() const { return start + 3 * Row(); }
};

// `correction(n)` is what the zero points of the inputs add to the sum of column n. Sums wrap around.
template <class Correction>
void PackInt8Columns(const Int8ColumnPlaces& places, const int32_t* bias, const Requantization& to,
                     Correction&& correction, std::byte* packed) {
  std::fill(packed + places.start, packed + places.end, std::byte{0});
  auto* sums = reinterpret_cast<int32_t*>(packed + places.start);
  auto* multipliers = reinterpret_cast<float*>(packed + places.start + places.Row());
  auto* offsets = reinterpret_cast<float*>(packed + places.start + 2 * places.Row());
  for (int64_t n = 0; n < places.columns; ++n) {
    const auto begin = static_cast<uint32_t>(bias ? bias[n] : 0);
    sums[n] = static_cast<int32_t>(begin + static_cast<uint32_t>(correction(n)));
    multipliers[n] = to.multiplier[n];
    if (to.offset) offsets[n] = to.offset[n];
  }
  const int32_t has_table = to.table ? 1 : 0;
  if (to.table) std::memcpy(packed + places.Table(), to.table, Int8ColumnPlaces::kTableBytes);
  std::memcpy(packed + places.Table() + Int8ColumnPlaces::kTableBytes, &has_table, sizeof(has_table));
}

// The same where a kernel reads them.
struct Int8Columns {
  const int32_t* sums;
  const float* multipliers;
  const float* offsets;
  const uint8_t* table;
  const int32_t* has_table;

  Int8Columns() = default;
  Int8Columns(const Int8ColumnPlaces& places, const void* packed) {
    const auto* start = static_cast<const std::byte*>(packed) + places.start;
    sums = reinterpret_cast<const int32_t*>(start);
    multipliers = reinterpret_cast<const float*>(start + places.Row());
    offsets = reinterpret_cast<const float*>(start + 2 * places.Row());
    table = reinterpret_cast<const uint8_t*>(start + 3 * places.Row());
    has_table = reinterpret_cast<const int32_t*>(table + Int8ColumnPlaces::kTableBytes);
  }

  MVF_DEVICE float Scale(int column, int32_t sum) const {
    return FusedMultiplyAdd(ToReal(sum + sums[column]), multipliers[column], offsets[column]);
  }
  // `looks_up` is what has_table says.
  MVF_DEVICE uint32_t ToByte(int column, int32_t sum, bool looks_up) const {
    const uint32_t byte = RoundToByte(Scale(column, sum));
    return looks_up ? table[byte] : byte;
  }
};

// Weights [columns][depth], and their columns.
struct Int8MatrixPlaces {
  ColumnOrder order;
  int64_t columns;
  int64_t depth;
  int64_t weights;
  Int8ColumnPlaces ends;

  Int8MatrixPlaces(ColumnOrder order, int64_t columns, int64_t depth, int64_t start)
      : order(order),
        columns(columns),
        depth(depth),
        weights(start),
        ends(columns, start + PackedColumns(columns) * DepthTiles() * Matrix<uint8_t>::kPackedDepth) {}

  int64_t DepthTiles() const { return DivideUp(depth, Matrix<uint8_t>::kPackedDepth); }
  int64_t end() const { return ends.end; }
};

inline int64_t SumOfWeights(const int8_t* weight, int64_t count) {
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += weight[i];
  return sum;
}

template <class Correction>
void PackInt8Matrix(const Int8MatrixPlaces& places, const Int8Weights& weights, const Requantization& to,
                    Correction&& correction, std::byte* packed) {
  std::fill(packed + places.weights, packed + places.ends.start, std::byte{0});
  for (int64_t n = 0; n < places.columns; ++n) {
    const int64_t column = places.order == ColumnOrder::kInRuns ? PlaceInRuns(n) : n;
    for (int64_t k = 0; k < places.depth; ++k) {
      packed[places.weights + Matrix<uint8_t>::PlaceOf(column, k, places.DepthTiles())] =
          static_cast<std::byte>(weights.weight[n * places.depth + k]);
    }
  }
  PackInt8Columns(places.ends, weights.bias, to, correction, packed);
}

// All of whose inputs have the same zero point.
inline void PackInt8Matrix(const Int8MatrixPlaces& places, const Int8Weights& weights,
                           const Requantization& to, int32_t zero, std::byte* packed) {
  const auto correction = [&](int64_t n) {
    return -zero * SumOfWeights(weights.weight + n * places.depth, places.depth);
  };
  PackInt8Matrix(places, weights, to, correction, packed);
}

struct PackedInt8Matrix {
  const uint8_t* weights;
  int depth_tiles;
  Int8Columns columns;

  PackedInt8Matrix() = default;
  PackedInt8Matrix(const Int8MatrixPlaces& places, const void* packed)
      : weights(static_cast<const uint8_t*>(packed) + places.weights),
        depth_tiles(static_cast<int>(places.DepthTiles())),
        columns(places.ends, packed) {}

  MVF_DEVICE const uint8_t* Tile(int column_tile, int depth_tile) const {
    return weights + (static_cast<int64_t>(column_tile) * depth_tiles + depth_tile) * kTileColumns *
                         Matrix<uint8_t>::kPackedDepth;
  }
};

}  // namespace mvf::cuda

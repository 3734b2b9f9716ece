// A tile of a product: rows of the left operand times a panel, in registers.
#pragma once

namespace mvf {
namespace {

// Operands and destinations are passed by value: a vector store may alias anything in memory, so that GCC
// would read the fields of a referenced struct again after each store.

// The left operand: row m, segment s, unit k lies at data + m * row_stride + s * segment_stride + k. A 1x1
// convolution has one segment, a 3x3 convolution one per row of its kernel. Short segments are of a length
// that the compiler knows.
template <class Unit, class Count = int64_t>
struct Operand {
  const Unit* data;
  Count row_stride;
  int64_t segment_stride;
  int64_t segments;
  Count units;
};

constexpr int64_t kLineBytes = 64;

// Cache lines in one unit of a panel.
template <int kVectors>
constexpr int64_t kLinesPerUnit = CeilDiv(kVectors* Vec::kLanes* int64_t{sizeof(Vec::Lane)}, kLineBytes);

// Memory that will be needed next. It is fetched in step with the arithmetic: a burst between two tiles would
// stall both, since a core keeps few misses in flight.
struct Ahead {
  uintptr_t address;       // an integer, since it may lie behind the last panel
  int64_t bytes_per_unit;  // of K
};

// A tile's accumulators: kRows rows of kVectors vectors of columns.
template <class Dot>
using SumOf = decltype(Dot::Broadcast(nullptr));
template <class Dot, int kRows, int kVectors>
using TileOf = SumOf<Dot>[kRows][kVectors];

// Rows of the next lower tile, for what is left below a full one.
template <class Dot>
constexpr int LowerTile(int rows) {
  if (kIsCompact<Dot>) return rows > 4 ? 4 : 1;
  return (rows + 1) / 2;
}

MVF_INLINE void LoadSum(const void* p, Vec& sum) { sum = Vec::Load(static_cast<const Vec::Lane*>(p)); }
// Where the compiler would spill an accumulator inside the loop over K, its type has a Pin that keeps it.
MVF_INLINE void Pin(Vec&) {}

// visit(Lane<0>), ..., visit(Lane<kCount - 1>).
template <int kLane>
struct Lane {
  static constexpr int kValue = kLane;
};
template <int kCount, int kFirst = 0, class Visit>
MVF_INLINE void ForEachLane(Visit visit) {
  if constexpr (kFirst < kCount) {
    visit(Lane<kFirst>{});
    ForEachLane<kCount, kFirst + 1>(visit);
  }
}

template <int kVectors>
MVF_INLINE void FetchUnit(Ahead& ahead) {
#pragma GCC unroll 3
  for (int64_t i = 0; i < kLinesPerUnit<kVectors>; ++i) {
    __builtin_prefetch(reinterpret_cast<const void*>(ahead.address + i * kLineBytes), 0, 2);
  }
  ahead.address += ahead.bytes_per_unit;
}

// sum[i, j] += row i's unit . column j's. A dot policy may have an order of its own.
template <class Dot>
struct UnitProducts {
  template <int kRows, int kVectors, class UnitOf>
  static MVF_INLINE void Add(UnitOf unit_of, const SumOf<Dot> (&column)[kVectors],
                             TileOf<Dot, kRows, kVectors>& sum) {
    using Row = RowUnits<Dot>;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const SumOf<Dot> row = Row::Broadcast(unit_of(i));
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sum[i][j] = Row::MulAdd(row, column[j], sum[i][j]);
    }
  }
};

// Adds a tile's products to its sums.
template <class Dot, int kRows, int kVectors, bool kAhead, class Count>
MVF_INLINE void Accumulate(Operand<typename Dot::Unit, Count> operand, const typename Dot::Unit* a,
                           const typename Dot::Unit* panel, Ahead ahead, TileOf<Dot, kRows, kVectors>& sum) {
  using Unit = typename Dot::Unit;
  using Row = RowUnits<Dot>;
  constexpr int kLanes = Vec::kLanes;
  // Three rows share a base pointer, so that the addresses of a tile fit in the integer registers.
  constexpr int kBases = (kRows + 2) / 3;
  const int64_t stride = operand.row_stride;
  for (int64_t segment = 0; segment < operand.segments; ++segment) {
    const Unit* base[kBases];
#pragma GCC unroll 6
    for (int i = 0; i < kBases; ++i) base[i] = a + 3 * i * stride;
    const auto advance = [&](int64_t units) __attribute__((always_inline)) {
#pragma GCC unroll 6
      for (int i = 0; i < kBases; ++i) {
        base[i] += units;
        asm("" : "+r"(base[i]));  // keeps the bases apart: GCC would otherwise rebuild them from one
      }
    };
    int64_t k = 0;
    if constexpr (Row::kUnits > 1) {
      for (; k + Row::kUnits <= operand.units; k += Row::kUnits) {
        SumOf<Dot> row[kRows];
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i) row[i] = Row::Load(base[i / 3] + (i % 3) * stride);
        // A vector of columns is on its way while the one before is multiplied.
        SumOf<Dot> column = Row::LoadColumns(panel);
        ForEachLane<Row::kUnits * kVectors>([&](auto place) __attribute__((always_inline)) {
          constexpr int kAt = decltype(place)::kValue, kLane = kAt / kVectors, j = kAt % kVectors;
          SumOf<Dot> next = column;
          if constexpr (kAt + 1 < Row::kUnits * kVectors) next = Row::LoadColumns(panel + kLanes * (kAt + 1));
#pragma GCC unroll 16
          for (int i = 0; i < kRows; ++i) {
            sum[i][j] = Row::template MulAddLane<kLane>(row[i], column, sum[i][j]);
          }
          column = next;
          if constexpr (kAhead && j == kVectors - 1) FetchUnit<kVectors>(ahead);
        });
        panel += kLanes * kVectors * Row::kUnits;
        advance(Row::kUnits);
      }
    }
    for (; k < operand.units; ++k) {
      SumOf<Dot> column[kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) column[j] = Row::LoadPanel(panel + kLanes * j);
      const auto unit_of = [&](int i) __attribute__((always_inline)) {
        return base[i / 3] + (i % 3) * stride;
      };
      UnitProducts<Dot>::Add(unit_of, column, sum);
      panel += kLanes * kVectors;
      if constexpr (kAhead) FetchUnit<kVectors>(ahead);
      advance(1);
    }
    a += operand.segment_stride;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) Pin(sum[i][j]);
  }
}

template <class Sum, int kRows, int kVectors>
MVF_INLINE void CopyTile(const Sum (&from)[kRows][kVectors], Sum (&to)[kRows][kVectors]) {
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) to[i][j] = from[i][j];
  }
}

// The same with sums in runs of about kRun units each, which are added to the tile's totals.
template <class Dot, int kRows, int kVectors, class Count>
__attribute__((noinline)) void AccumulateRuns(Operand<typename Dot::Unit, Count> operand,
                                              const typename Dot::Unit* a, const typename Dot::Unit* panel,
                                              TileOf<Dot, kRows, kVectors>& total) {
  using Unit = typename Dot::Unit;
  const int64_t units = operand.units, step = operand.segment_stride;
  const int64_t segments_at_once = Max(kRun<Dot> / units, 1);
  const int64_t most = RoundUp(CeilDiv(units, CeilDiv(units, kRun<Dot>)), RowUnits<Dot>::kUnits);
  Operand<Unit> run = {operand.data, operand.row_stride, step, 1, 0};
  for (int64_t segment = 0; segment < operand.segments; segment += run.segments) {
    run.segments = Min(segments_at_once, operand.segments - segment);
    for (int64_t k = 0; k < units; k += run.units) {
      run.units = Min(most, units - k);
      TileOf<Dot, kRows, kVectors> sum;
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) sum[i][j] = SumOf<Dot>::Zero();
      }
      Accumulate<Dot, kRows, kVectors, false>(run, a + segment * step + k, panel, Ahead{}, sum);
      panel += run.segments * run.units * kVectors * Vec::kLanes;
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) total[i][j] = Add(total[i][j], sum[i][j]);
      }
    }
  }
}

}  // namespace
}  // namespace mvf

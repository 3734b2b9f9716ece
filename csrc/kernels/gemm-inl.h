// The matrix multiply under everything: rows of a map times panels, with the epilogue in registers.
// out[m, n] = activation(bias[n] + sum_k a[m, k] * weight[n, k]) + residual[m, n]
#pragma once

namespace mvf {
namespace {

// Both sides are passed by value: a vector store may alias anything in memory, so that GCC would read the
// fields of a referenced struct again after each store.

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

template <class Out>
struct Destination {
  Out* data;
  int64_t stride;
  const Out* residual;  // may equal data
  int64_t residual_stride;
};

constexpr int64_t kLineBytes = 64;

// Cache lines in one unit of a panel.
template <int kVectors>
constexpr int64_t kLinesPerUnit = CeilDiv(kVectors* Vec::kLanes* int64_t{sizeof(float)}, kLineBytes);

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

MVF_INLINE void LoadSum(const void* p, Vec& sum) { sum = Vec::Load(static_cast<const float*>(p)); }
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
        ForEachLane<Row::kUnits>([&](auto lane) __attribute__((always_inline)) {
#pragma GCC unroll 4
          for (int j = 0; j < kVectors; ++j) {
            const SumOf<Dot> column = Dot::LoadPanel(panel + kLanes * j);
#pragma GCC unroll 16
            for (int i = 0; i < kRows; ++i) {
              sum[i][j] = Row::template MulAddLane<decltype(lane)::kValue>(row[i], column, sum[i][j]);
            }
          }
          panel += kLanes * kVectors;
          if constexpr (kAhead) FetchUnit<kVectors>(ahead);
        });
        advance(Row::kUnits);
      }
    }
    for (; k < operand.units; ++k) {
      SumOf<Dot> column[kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) column[j] = Dot::LoadPanel(panel + kLanes * j);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const SumOf<Dot> row = Row::Broadcast(base[i / 3] + (i % 3) * stride);
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) sum[i][j] = Row::MulAdd(row, column[j], sum[i][j]);
      }
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

// What becomes of a tile's sums is an Epilogue's affair: epilogue(sum, header, row, column, last_lanes),
// where the tile's first element is (row, column) of the product and its last vector holds `last_lanes`
// columns.

// To a row-major matrix or map.
template <Activation kActivation, bool kResidual, class Out>
struct StoreEpilogue {
  Destination<Out> to;

  template <int kRows, int kVectors>
  MVF_INLINE void operator()(Vec (&sum)[kRows][kVectors], const void* /*header*/, int64_t row, int64_t column,
                             int last_lanes) const {
    constexpr int kLanes = Vec::kLanes;
    Out* out = to.data + row * to.stride + column;
    const Out* residual = kResidual ? to.residual + row * to.residual_stride + column : nullptr;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        Vec value = Activate<kActivation>(sum[i][j]);
        const Out* r = residual + kLanes * j;
        if (j < kVectors - 1 || last_lanes == kLanes) {
          if constexpr (kResidual) value = Add(value, Vec::Load(r));
          value.Store(out + kLanes * j);
        } else {
          if constexpr (kResidual) value = Add(value, Vec::LoadPartial(r, last_lanes));
          value.StorePartial(out + kLanes * j, last_lanes);
        }
      }
      // One pointer that walks down the rows: GCC would otherwise compute each row's address from the first.
      out += to.stride;
      asm("" : "+r"(out));
      if constexpr (kResidual) {
        residual += to.residual_stride;
        asm("" : "+r"(residual));
      }
    }
  }
};

// Rows [begin, end) against one panel; what is left below a full tile goes through tiles of half the height.
// kAhead is for panels that are passed once: one that returns for other rows has its successor in the cache
// already.
template <class Dot, int kRows, int kVectors, bool kAhead, class Count, class Epilogue>
__attribute__((noinline)) void PanelTiles(Operand<typename Dot::Unit, Count> operand, int64_t begin,
                                          int64_t end, const void* header, Epilogue epilogue, int64_t column,
                                          int last_lanes) {
  using Unit = typename Dot::Unit;
  constexpr int kLanes = Vec::kLanes;
  constexpr int kWidth = kLanes * kVectors;
  const Unit* panel = static_cast<const Unit*>(header) + kHeaderRows<Dot> * kWidth;
  // Weights lie in execution order, so the memory behind this panel is what is needed next: each tile fetches
  // its share of as much.
  const int64_t units = operand.segments * operand.units;
  const int64_t tiles = Max((end - begin) / kRows, 1);
  Ahead ahead{reinterpret_cast<uintptr_t>(panel + units * kWidth),
              CeilDiv(kWidth * int64_t{sizeof(Unit)}, tiles)};
  int64_t m = begin;
  for (; m + kRows <= end; m += kRows) {
    TileOf<Dot, kRows, kVectors> sum;
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      SumOf<Dot> bias;
      LoadSum(static_cast<const Unit*>(header) + kLanes * j, bias);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) sum[i][j] = bias;
    }
    Accumulate<Dot, kRows, kVectors, kAhead>(operand, operand.data + m * operand.row_stride, panel, ahead,
                                             sum);
    epilogue(sum, header, m, column, last_lanes);
    ahead.address += units * ahead.bytes_per_unit;
  }
  if constexpr (kRows > 1) {
    if (m < end) {
      PanelTiles<Dot, (kRows + 1) / 2, kVectors, kAhead>(operand, m, end, header, epilogue, column,
                                                         last_lanes);
    }
  }
}

// The same for a panel of `vectors` vectors, of which the first `columns_left` columns are the matrix's own.
template <class Dot, bool kAhead = true, class Count, class Epilogue>
MVF_INLINE void PanelRows(int vectors, Operand<typename Dot::Unit, Count> operand, int64_t begin, int64_t end,
                          const void* panel, Epilogue epilogue, int64_t column, int64_t columns_left) {
  const int last_lanes = static_cast<int>(Min(columns_left - (vectors - 1) * Vec::kLanes, Vec::kLanes));
  if (vectors == 3) {
    PanelTiles<Dot, TileRows(3), 3, kAhead>(operand, begin, end, panel, epilogue, column, last_lanes);
  } else if (vectors == 2) {
    PanelTiles<Dot, TileRows(2), 2, kAhead>(operand, begin, end, panel, epilogue, column, last_lanes);
  } else {
    PanelTiles<Dot, TileRows(1), 1, kAhead>(operand, begin, end, panel, epilogue, column, last_lanes);
  }
}
template <class Dot, Activation kActivation, bool kResidual, bool kAhead = true, class Out>
MVF_INLINE void PanelRows(int vectors, Operand<typename Dot::Unit> operand, int64_t begin, int64_t end,
                          const float* panel, Destination<Out> to, int64_t column, int64_t columns_left) {
  PanelRows<Dot, kAhead>(vectors, operand, begin, end, panel, StoreEpilogue<kActivation, kResidual, Out>{to},
                         column, columns_left);
}

// All columns for rows [begin, end). Rows go in blocks that stay in the second-level cache while the panels
// pass.
template <class Dot, class Epilogue>
void Gemm(Operand<typename Dot::Unit> operand, int64_t begin, int64_t end, int64_t columns,
          const void* packed, Epilogue epilogue) {
  using Unit = typename Dot::Unit;
  constexpr int64_t kBlockBytes = 256 * 1024;
  const int64_t total_units = operand.segments * operand.units;
  const int64_t block =
      Max(RoundUp(kBlockBytes / Max(total_units * int64_t{sizeof(Unit)}, 1), TileRows(1)), 48);
  for (int64_t m = begin; m < end; m += block) {
    const int64_t stop = Min(m + block, end);
    ForEachPanel(columns, kHeaderRows<Dot> - 1 + total_units, [&](int vectors, int64_t column, int64_t slot) {
      PanelRows<Dot>(vectors, operand, m, stop, static_cast<const Unit*>(packed) + slot, epilogue, column,
                     columns - column);
    });
  }
}
template <class Dot, Activation kActivation, bool kResidual, class Out>
void Gemm(Operand<typename Dot::Unit> operand, int64_t begin, int64_t end, int64_t columns,
          const void* packed, Destination<Out> to) {
  Gemm<Dot>(operand, begin, end, columns, packed, StoreEpilogue<kActivation, kResidual, Out>{to});
}

// The same with the epilogue chosen at run time.
template <class Dot, class Out>
void Gemm(Activation activation, Operand<typename Dot::Unit> operand, int64_t begin, int64_t end,
          int64_t columns, const void* packed, Destination<Out> to) {
  if (activation == Activation::kSilu) {
    if (to.residual) return Gemm<Dot, Activation::kSilu, true>(operand, begin, end, columns, packed, to);
    return Gemm<Dot, Activation::kSilu, false>(operand, begin, end, columns, packed, to);
  }
  if (to.residual) return Gemm<Dot, Activation::kNone, true>(operand, begin, end, columns, packed, to);
  return Gemm<Dot, Activation::kNone, false>(operand, begin, end, columns, packed, to);
}

}  // namespace
}  // namespace mvf

// The matrix multiply under everything: rows of a map times panels, with the epilogue in registers.
// out[m, n] = activation(bias[n] + sum_k a[m, k] * weight[n, k]) + residual[m, n]
#pragma once

namespace mvf {
namespace {

// Rows [begin, end) against one panel in vectors; what is left below a full tile goes through lower ones.
template <class Dot, int kRows, int kVectors, bool kAhead, class Count, class Epilogue>
__attribute__((noinline)) void VectorTiles(Operand<typename Dot::Unit, Count> operand, int64_t begin,
                                           int64_t end, const void* header, Epilogue epilogue, int64_t column,
                                           int last_lanes) {
  using Unit = typename Dot::Unit;
  constexpr int kLanes = Vec::kLanes;
  constexpr int kWidth = kLanes * kVectors;
  const Unit* panel = static_cast<const Unit*>(header) + kHeaderRows<Dot> * kWidth;
  // Weights lie in execution order, so the memory behind this panel is what is needed next: each tile fetches
  // its share of as much.
  const int64_t units = operand.segments * operand.units;
  const bool takes_runs = kRun<Dot> > 0 && units > kRun<Dot>;
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
    const Unit* const a = operand.data + m * operand.row_stride;
    if (!takes_runs) {
      Accumulate<Dot, kRows, kVectors, kAhead>(operand, a, panel, ahead, sum);
    } else if constexpr (kRun<Dot> > 0) {
      // A copy: what a call has the address of would be in memory for the others, too.
      TileOf<Dot, kRows, kVectors> total;
      CopyTile(sum, total);
      AccumulateRuns<Dot, kRows, kVectors>(operand, a, panel, total);
      CopyTile(total, sum);
    }
    epilogue(sum, header, m, column, last_lanes);
    ahead.address += units * ahead.bytes_per_unit;
  }
  if constexpr (kRows > 1) {
    if (m < end) {
      VectorTiles<Dot, LowerTile<Dot>(kRows), kVectors, kAhead>(operand, m, end, header, epilogue, column,
                                                                last_lanes);
    }
  }
}

// Rows [begin, end) against one panel.
// kAhead is for panels that are passed once: one that returns for other rows has its successor in the cache
// already.
template <class Dot, int kRows, int kVectors, bool kAhead, class Count, class Epilogue>
MVF_INLINE void PanelTiles(Operand<typename Dot::Unit, Count> operand, int64_t begin, int64_t end,
                           const void* header, Epilogue epilogue, int64_t column, int last_lanes) {
  if constexpr (TileRegisters<Dot>::kExist) {
    const Operand<typename Dot::Unit> rows = {operand.data, operand.row_stride, operand.segment_stride,
                                              operand.segments, operand.units};
    MatrixTiles<Dot, kRows, kVectors>(rows, begin, end, header, kAhead, epilogue, column, last_lanes);
  } else {
    VectorTiles<Dot, kRows, kVectors, kAhead>(operand, begin, end, header, epilogue, column, last_lanes);
  }
}

// The same for a panel of `vectors` vectors, of which the first `columns_left` columns are the matrix's own.
template <class Dot, bool kAhead = true, class Count, class Epilogue>
MVF_INLINE void PanelRows(int vectors, Operand<typename Dot::Unit, Count> operand, int64_t begin, int64_t end,
                          const void* panel, Epilogue epilogue, int64_t column, int64_t columns_left) {
  const int last_lanes = static_cast<int>(Min(columns_left - (vectors - 1) * Vec::kLanes, Vec::kLanes));
  constexpr bool kFetch = kAhead && !kIsCompact<Dot>;
  if constexpr (kMaxPanelVectors == 3) {
    if (vectors == 3) {
      PanelTiles<Dot, TileRows(3), 3, kFetch>(operand, begin, end, panel, epilogue, column, last_lanes);
      return;
    }
  }
  if (vectors == 2) {
    PanelTiles<Dot, TileRows(2), 2, kFetch>(operand, begin, end, panel, epilogue, column, last_lanes);
  } else {
    PanelTiles<Dot, TileRows(1), 1, kFetch>(operand, begin, end, panel, epilogue, column, last_lanes);
  }
}
template <class Dot, Activation kActivation, bool kResidual, bool kAhead = true, class Out>
MVF_INLINE void PanelRows(int vectors, Operand<typename Dot::Unit> operand, int64_t begin, int64_t end,
                          const Vec::Lane* panel, Destination<Out> to, int64_t column, int64_t columns_left) {
  PanelRows<Dot, kAhead>(vectors, operand, begin, end, panel, EpilogueTo<Dot, kActivation, kResidual>(to),
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
  Gemm<Dot>(operand, begin, end, columns, packed, EpilogueTo<Dot, kActivation, kResidual>(to));
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

// The matrix multiply under everything: rows of a map times panels, with the epilogue in registers.
// out[m, n] = activation(bias[n] + sum_k a[m, k] * weight[n, k]) + residual[m, n]
#pragma once

namespace mvf {
namespace {

// Both sides are passed by value: a vector store may alias anything in memory, so that GCC would read the
// fields of a referenced struct again after each store.

// The left operand: row m, segment s, unit k lies at data + m * row_stride + s * segment_stride + k. A 1x1
// convolution has one segment, a 3x3 convolution one per row of its kernel.
template <class Unit>
struct Operand {
  const Unit* data;
  int64_t row_stride;
  int64_t segment_stride;
  int64_t segments;
  int64_t units;
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

// One tile of kRows rows and kVectors vectors of columns, of which the last vector holds `last_lanes`
// columns.
template <class Dot, int kRows, int kVectors, Activation kActivation, bool kResidual, bool kAhead, class Out>
MVF_INLINE void MicroKernel(Operand<typename Dot::Unit> operand, const typename Dot::Unit* a,
                            const typename Dot::Unit* panel, const float* bias, Destination<Out> to, Out* out,
                            const Out* residual, int last_lanes, Ahead ahead) {
  using Unit = typename Dot::Unit;
  constexpr int kLanes = Vec::kLanes;
  // Three rows share a base pointer, so that the addresses of a tile fit in the integer registers.
  constexpr int kBases = (kRows + 2) / 3;
  Vec sum[kRows][kVectors];
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) {
    const Vec b = Vec::Load(bias + kLanes * j);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) sum[i][j] = b;
  }
  const int64_t stride = operand.row_stride;
  for (int64_t segment = 0; segment < operand.segments; ++segment) {
    const Unit* base[kBases];
#pragma GCC unroll 6
    for (int i = 0; i < kBases; ++i) base[i] = a + 3 * i * stride;
    for (int64_t k = 0; k < operand.units; ++k) {
      Vec column[kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) column[j] = Dot::LoadPanel(panel + kLanes * j);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Vec row = Dot::Broadcast(base[i / 3] + (i % 3) * stride);
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) sum[i][j] = Dot::MulAdd(row, column[j], sum[i][j]);
      }
      panel += kLanes * kVectors;
      if constexpr (kAhead) {
#pragma GCC unroll 3
        for (int64_t i = 0; i < kLinesPerUnit<kVectors>; ++i) {
          __builtin_prefetch(reinterpret_cast<const void*>(ahead.address + i * kLineBytes), 0, 2);
        }
        ahead.address += ahead.bytes_per_unit;
      }
#pragma GCC unroll 6
      for (int i = 0; i < kBases; ++i) {
        ++base[i];
        asm("" : "+r"(base[i]));  // keeps the bases apart: GCC would otherwise rebuild them from one
      }
    }
    a += operand.segment_stride;
  }
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

// Rows [begin, end) against one panel; what is left below a full tile goes through tiles of half the height.
// kAhead is for panels that are passed once: one that returns for other rows has its successor in the cache
// already.
template <class Dot, int kRows, int kVectors, Activation kActivation, bool kResidual, bool kAhead, class Out>
__attribute__((noinline)) void PanelRows(Operand<typename Dot::Unit> operand, int64_t begin, int64_t end,
                                         const float* bias, Destination<Out> to, int64_t column,
                                         int last_lanes) {
  using Unit = typename Dot::Unit;
  constexpr int kWidth = Vec::kLanes * kVectors;
  const Unit* panel = reinterpret_cast<const Unit*>(bias + kWidth);
  // Weights lie in execution order, so the memory behind this panel is what is needed next: each tile fetches
  // its share of as much.
  const int64_t units = operand.segments * operand.units;
  const int64_t tiles = Max((end - begin) / kRows, 1);
  Ahead ahead{reinterpret_cast<uintptr_t>(panel + units * kWidth),
              CeilDiv(kWidth * int64_t{sizeof(Unit)}, tiles)};
  int64_t m = begin;
  for (; m + kRows <= end; m += kRows) {
    const Out* residual = kResidual ? to.residual + m * to.residual_stride + column : nullptr;
    MicroKernel<Dot, kRows, kVectors, kActivation, kResidual, kAhead>(
        operand, operand.data + m * operand.row_stride, panel, bias, to, to.data + m * to.stride + column,
        residual, last_lanes, ahead);
    ahead.address += units * ahead.bytes_per_unit;
  }
  if constexpr (kRows > 1) {
    if (m < end) {
      PanelRows<Dot, (kRows + 1) / 2, kVectors, kActivation, kResidual, kAhead, Out>(operand, m, end, bias,
                                                                                     to, column, last_lanes);
    }
  }
}

// The same for a panel of `vectors` vectors, of which the first `columns_left` columns are the matrix's own.
template <class Dot, Activation kActivation, bool kResidual, bool kAhead = true, class Out>
MVF_INLINE void PanelRows(int vectors, Operand<typename Dot::Unit> operand, int64_t begin, int64_t end,
                          const float* panel, Destination<Out> to, int64_t column, int64_t columns_left) {
  const int last_lanes = static_cast<int>(Min(columns_left - (vectors - 1) * Vec::kLanes, Vec::kLanes));
  if (vectors == 3) {
    PanelRows<Dot, TileRows(3), 3, kActivation, kResidual, kAhead>(operand, begin, end, panel, to, column,
                                                                   last_lanes);
  } else if (vectors == 2) {
    PanelRows<Dot, TileRows(2), 2, kActivation, kResidual, kAhead>(operand, begin, end, panel, to, column,
                                                                   last_lanes);
  } else {
    PanelRows<Dot, TileRows(1), 1, kActivation, kResidual, kAhead>(operand, begin, end, panel, to, column,
                                                                   last_lanes);
  }
}

// All columns for rows [begin, end). Rows go in blocks that stay in the second-level cache while the panels
// pass.
template <class Dot, Activation kActivation, bool kResidual, class Out>
void Gemm(Operand<typename Dot::Unit> operand, int64_t begin, int64_t end, int64_t columns,
          const void* packed, Destination<Out> to) {
  constexpr int64_t kBlockBytes = 256 * 1024;
  const int64_t total_units = operand.segments * operand.units;
  const int64_t block =
      Max(RoundUp(kBlockBytes / Max(total_units * int64_t{sizeof(typename Dot::Unit)}, 1), TileRows(1)), 48);
  for (int64_t m = begin; m < end; m += block) {
    const int64_t stop = Min(m + block, end);
    ForEachPanel(columns, total_units, [&](int vectors, int64_t column, int64_t slot) {
      PanelRows<Dot, kActivation, kResidual>(
          vectors, operand, m, stop, static_cast<const float*>(packed) + slot, to, column, columns - column);
    });
  }
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

// How a micro-kernel reads rows of K, and how long it sums what it makes of them; the dot policies' defaults.
#pragma once

namespace mvf {
namespace {

// How a micro-kernel reads the units of a row: one at a time, for all lanes. Where vectors multiply by a lane
// of another, a specialisation reads kUnits at once, by Load, and multiplies by MulAddLane<lane>.
template <class Dot>
struct RowUnits {
  static constexpr int kUnits = 1;
  static constexpr int kStoredLess = 0;  // what rows of bytes are less in memory
  static MVF_INLINE auto Broadcast(const typename Dot::Unit* p) { return Dot::Broadcast(p); }
  static MVF_INLINE auto LoadPanel(const typename Dot::Unit* p) { return Dot::LoadPanel(p); }
  template <class Sum>
  static MVF_INLINE Sum MulAdd(Sum row, Sum column, Sum sum) {
    return Dot::MulAdd(row, column, sum);
  }
};

// Registers that hold whole tiles of a product's operands, where the processor has them.
template <class Dot>
struct TileRegisters {
  static constexpr bool kExist = false;
};

// Units of K whose products are summed before they go into a tile's totals; 0 for all.
template <class Dot>
constexpr int64_t kRun = 0;

// Whether kernels are spared copies of themselves for cases that are rare or differ at a tile's end only. A
// table that few processors need to carry must not be large.
template <class Dot>
constexpr bool kIsCompact = false;

}  // namespace
}  // namespace mvf

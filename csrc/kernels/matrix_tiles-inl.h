// The matrix multiply by registers that hold whole tiles of the operands, which they load as panels and rows
// lie. The sums pass through memory on their way to the epilogue.
#pragma once

namespace mvf {
namespace {

// Units of K that one multiplication takes. All rows of K are cut into equal steps, since a shorter last one
// would need registers of another shape. Even steps of one unit are no slower than vectors.
constexpr int StepUnits(int64_t units, int most) {
  int step = most;
  while (units % step != 0) --step;
  return step;
}

// The same from a table, which spares the divisions.
template <int kMost>
struct StepTable {
  static constexpr int kUnits = 512;
  uint8_t step[kUnits] = {};

  constexpr StepTable() {
    for (int i = 1; i < kUnits; ++i) step[i] = static_cast<uint8_t>(StepUnits(i, kMost));
  }
  static int Find(int64_t units) {
    static constexpr StepTable table;
    return units < kUnits ? table.step[units] : StepUnits(units, kMost);
  }
};

// What becomes of sums that are wanted as they are: registers store them where they belong, in rows that have
// room for whole vectors of columns.
template <class Lane>
struct SumsInPlace {
  Lane* data;
  int64_t stride;
};
template <class Epilogue>
constexpr bool kStoresSums = false;
template <class Lane>
constexpr bool kStoresSums<SumsInPlace<Lane>> = true;

// The products of one panel and rows [begin, end), a block of them at a time. Registers hold the sums of
// kRowTiles tiles of rows, then those rows, then the panel's columns.
template <class Dot, int kVectors>
class TileProducts {
 public:
  using Unit = typename Dot::Unit;
  using Registers = TileRegisters<Dot>;
  static constexpr int kLanes = Vec::kLanes;
  static constexpr int kWidth = kVectors * kLanes;
  static constexpr int kTileRows = Registers::kRows;
  static constexpr int kRowTiles = kVectors == 3 ? 1 : 2;
  static constexpr int kBlockRows = kRowTiles * kTileRows;

  TileProducts(Operand<Unit> operand, int64_t begin, int64_t end, const Unit* header, bool fetches_ahead)
      : operand_(operand),
        step_(StepTable<Registers::kUnits>::Find(operand.units)),
        end_(end),
        height_(static_cast<int>(Min(end - begin, kTileRows))),
        header_(header),
        panel_(header + kHeaderRows<Dot> * kWidth) {
    Registers::Use(height_, step_, kRowTiles);
    if (!fetches_ahead) return;
    const int64_t bytes = operand.segments * operand.units * kWidth * int64_t{sizeof(Unit)};
    const int64_t steps = operand.segments * operand.units / step_ * CeilDiv(end - begin, kBlockRows);
    ahead_ = reinterpret_cast<uintptr_t>(panel_) + static_cast<uintptr_t>(bytes);
    lines_per_step_ = CeilDiv(CeilDiv(bytes, kLineBytes), steps);
  }

  int height() const { return height_; }  // rows of a tile

  // Where the tile whose first wanted row is `m` begins: the last one begins earlier where rows are left
  // over, and multiplies some of them again.
  int64_t FirstRow(int64_t m) const { return Min(m, end_ - height_); }

  // Rows from m on: those of tile i go to to[i], `stride` slots apart.
  void __attribute__((noinline)) Multiply(int64_t m, Unit* const (&to)[kRowTiles], int64_t stride) {
    if (kRowTiles == 2 && m + kTileRows < end_) {
      MultiplyRowTiles<kRowTiles>(m, to, stride);
    } else {
      MultiplyRowTiles<1>(m, to, stride);
    }
  }

 private:
  static constexpr int kFirstRowTile = kRowTiles == 1 ? 3 : 4;
  static constexpr int kFirstColumnTile = kFirstRowTile + kRowTiles;
  static_assert(kFirstColumnTile + kVectors <= 8, "there are eight registers");

  template <int kTiles>
  MVF_INLINE void MultiplyRowTiles(int64_t m, Unit* const (&to)[kRowTiles], int64_t stride) {
    const Unit* rows[kTiles];
    for (int i = 0; i < kTiles; ++i) {
      rows[i] = operand_.data + FirstRow(m + i * kTileRows) * operand_.row_stride;
    }
    const int64_t row_bytes = operand_.row_stride * int64_t{sizeof(Unit)};
    constexpr int64_t kColumnBytes = kWidth * sizeof(Unit);
    // Every sum starts as its column's first header row.
    ForEachLane<kTiles * kVectors>([&](auto place) __attribute__((always_inline)) {
      constexpr int kAt = decltype(place)::kValue;
      Registers::template Load<kAt>(header_ + kAt % kVectors * kLanes, 0);
    });
    const Unit* panel = panel_;
    for (int64_t segment = 0; segment < operand_.segments; ++segment) {
      for (int64_t k = 0; k < operand_.units; k += step_) {
        ForEachLane<kTiles>([&](auto tile) __attribute__((always_inline)) {
          constexpr int kTile = decltype(tile)::kValue;
          Registers::template Load<kFirstRowTile + kTile>(rows[kTile] + k, row_bytes);
        });
        ForEachLane<kVectors>([&](auto vector) __attribute__((always_inline)) {
          constexpr int kVector = decltype(vector)::kValue;
          Registers::template Load<kFirstColumnTile + kVector>(panel + kVector * kLanes, kColumnBytes);
          ForEachLane<kTiles>([&](auto tile) __attribute__((always_inline)) {
            constexpr int kTile = decltype(tile)::kValue;
            Registers::template MulAdd<kTile * kVectors + kVector, kFirstRowTile + kTile,
                                       kFirstColumnTile + kVector>();
          });
        });
        panel += step_ * kWidth;
        Fetch();
      }
      for (int i = 0; i < kTiles; ++i) rows[i] += operand_.segment_stride;
    }
    ForEachLane<kTiles * kVectors>([&](auto place) __attribute__((always_inline)) {
      constexpr int kAt = decltype(place)::kValue, kTile = kAt / kVectors, kVector = kAt % kVectors;
      Registers::template Store<kAt>(to[kTile] + kVector * kLanes, stride * int64_t{sizeof(Unit)});
    });
  }

  void Fetch() {
    for (int64_t i = 0; i < lines_per_step_; ++i, ahead_ += kLineBytes) {
      __builtin_prefetch(reinterpret_cast<const void*>(ahead_), 0, 2);
    }
  }

  const Operand<Unit> operand_;
  const int step_;
  const int64_t end_;
  const int height_;
  const Unit* const header_;
  const Unit* const panel_;
  uintptr_t ahead_ = 0;  // an integer, since it may lie behind the last panel
  int64_t lines_per_step_ = 0;
};

// Rows of a block's sums, and then lower tiles of what is left, through the epilogue.
template <class Dot, int kRows, int kVectors, class Epilogue>
MVF_INLINE void FinishRows(int64_t m, int64_t end, const typename Dot::Unit* sums, const void* header,
                           Epilogue epilogue, int64_t column, int last_lanes) {
  constexpr int kWidth = kVectors * Vec::kLanes;
  for (; m + kRows <= end; m += kRows, sums += kRows * kWidth) {
    TileOf<Dot, kRows, kVectors> sum;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
      for (int j = 0; j < kVectors; ++j) LoadSum(sums + i * kWidth + j * Vec::kLanes, sum[i][j]);
    }
    epilogue(sum, header, m, column, last_lanes);
  }
  if constexpr (kRows > 1) {
    if (m < end) {
      FinishRows<Dot, LowerTile<Dot>(kRows), kVectors>(m, end, sums, header, epilogue, column, last_lanes);
    }
  }
}

// Rows [begin, end) against one panel. A block's products are on their way while the one before goes through
// the epilogue.
template <class Dot, int kRows, int kVectors, class Epilogue>
__attribute__((noinline)) void MatrixTiles(Operand<typename Dot::Unit> operand, int64_t begin, int64_t end,
                                           const void* header, bool fetches_ahead, Epilogue epilogue,
                                           int64_t column, int last_lanes) {
  using Unit = typename Dot::Unit;
  using Products = TileProducts<Dot, kVectors>;
  constexpr int kTiles = Products::kRowTiles, kTileRows = Products::kTileRows;
  constexpr int64_t kTileSlots = kTileRows * Products::kWidth;
  if (begin >= end) return;
  Products products(operand, begin, end, static_cast<const Unit*>(header), fetches_ahead);
  if constexpr (kStoresSums<Epilogue>) {
    for (int64_t m = begin; m < end; m += Products::kBlockRows) {
      Unit* to[kTiles];
      for (int i = 0; i < kTiles; ++i) {
        to[i] = reinterpret_cast<Unit*>(epilogue.data + column +
                                        products.FirstRow(m + i * kTileRows) * epilogue.stride);
      }
      products.Multiply(m, to, epilogue.stride);
    }
  } else {
    alignas(kAlignment) Unit sums[2][kTiles * kTileSlots];
    const auto multiply = [&](int64_t m, Unit* block) {
      Unit* to[kTiles];
      for (int i = 0; i < kTiles; ++i) to[i] = block + i * kTileSlots;
      products.Multiply(m, to, Products::kWidth);
    };
    int buffer = 0;
    multiply(begin, sums[buffer]);
    for (int64_t block = begin; block < end; block += Products::kBlockRows, buffer ^= 1) {
      if (block + Products::kBlockRows < end) multiply(block + Products::kBlockRows, sums[buffer ^ 1]);
      for (int i = 0; i < kTiles && block + i * kTileRows < end; ++i) {
        const int64_t m = block + i * kTileRows, first = products.FirstRow(m);
        FinishRows<Dot, kRows, kVectors>(m, first + products.height(),
                                         sums[buffer] + i * kTileSlots + (m - first) * Products::kWidth,
                                         header, epilogue, column, last_lanes);
      }
    }
  }
}

}  // namespace
}  // namespace mvf

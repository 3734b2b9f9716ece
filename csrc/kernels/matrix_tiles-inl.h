// The matrix multiply by registers that hold whole tiles of the operands, which they load as panels and rows
// lie. The sums pass through memory on their way to the epilogue.
#pragma once

namespace mvf {
namespace {

// Units of K that one multiplication takes. All rows of K are cut into equal steps, since a shorter last one
// would need registers of another shape; zero where no such step is long enough to pay.
constexpr int StepUnits(int64_t units, int most) {
  constexpr int kLeast = 4;
  for (int step = most; step >= kLeast; --step) {
    if (units % step == 0) return step;
  }
  return 0;
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

  template <class Sum, int kRows, int kVectors>
  MVF_INLINE void operator()(Sum (&sum)[kRows][kVectors], const void* /*header*/, int64_t row, int64_t column,
                             int /*last_lanes*/) const {
    Lane* out = data + row * stride + column;
    for (int i = 0; i < kRows; ++i, out += stride) {
      for (int j = 0; j < kVectors; ++j) sum[i][j].Store(out + j * Vec::kLanes);
    }
  }
};
template <class Epilogue>
constexpr bool kStoresSums = false;
template <class Lane>
constexpr bool kStoresSums<SumsInPlace<Lane>> = true;

// Rows [begin, end) against one panel. Registers hold the sums of kRowTiles tiles of rows, then those rows,
// then the panel's columns.
template <class Dot, int kRows, int kVectors, bool kAhead, class Epilogue>
class MatrixTiles {
 public:
  using Unit = typename Dot::Unit;
  using Registers = TileRegisters<Dot>;
  static constexpr int kLanes = Vec::kLanes;
  static constexpr int kWidth = kVectors * kLanes;
  static constexpr int kTileRows = Registers::kRows;
  static constexpr int kRowTiles = kVectors == 3 ? 1 : 2;
  static constexpr int kBlockRows = kRowTiles * kTileRows;

  MatrixTiles(Operand<Unit> operand, int step, int64_t begin, int64_t end, const void* header,
              Epilogue epilogue, int64_t column, int last_lanes)
      : operand_(operand),
        step_(step),
        begin_(begin),
        end_(end),
        height_(static_cast<int>(Min(end - begin, kTileRows))),
        header_(static_cast<const Unit*>(header)),
        epilogue_(epilogue),
        column_(column),
        last_lanes_(last_lanes) {
    const int64_t bytes = operand.segments * operand.units * kWidth * int64_t{sizeof(Unit)};
    const int64_t steps = operand.segments * operand.units / step * CeilDiv(end - begin, kBlockRows);
    ahead_ = {reinterpret_cast<uintptr_t>(Panel()) + static_cast<uintptr_t>(bytes),
              CeilDiv(CeilDiv(bytes, kLineBytes), steps)};
  }

  // A block's products are on their way while the one before goes through the epilogue.
  void Run() {
    Registers::Use(height_, step_, kRowTiles);
    if constexpr (kStoresSums<Epilogue>) {
      for (int64_t m = begin_; m < end_; m += kBlockRows) Multiply(m, nullptr);
      return;
    }
    alignas(kAlignment) Unit sums[2][kBlockRows * kWidth];
    int buffer = 0;
    Multiply(begin_, sums[buffer]);
    for (int64_t m = begin_; m < end_; m += kBlockRows, buffer ^= 1) {
      if (m + kBlockRows < end_) Multiply(m + kBlockRows, sums[buffer ^ 1]);
      Finish(m, sums[buffer]);
    }
  }

 private:
  static constexpr int kFirstRowTile = kRowTiles == 1 ? 3 : 4;
  static constexpr int kFirstColumnTile = kFirstRowTile + kRowTiles;
  static_assert(kFirstColumnTile + kVectors <= 8, "there are eight registers");

  struct LinesAhead {
    uintptr_t address;  // an integer, since it may lie behind the last panel
    int64_t lines_per_step;
  };

  const Unit* Panel() const { return header_ + kHeaderRows<Dot> * kWidth; }

  // Where the tile whose first wanted row is `m` begins: the last one begins earlier where rows are left
  // over, and multiplies some of them again.
  int64_t FirstRow(int64_t m) const { return Min(m, end_ - height_); }

  void Multiply(int64_t m, Unit* sums) {
    if (kRowTiles == 2 && m + kTileRows < end_) {
      MultiplyRowTiles<kRowTiles>(m, sums);
    } else {
      MultiplyRowTiles<1>(m, sums);
    }
  }

  template <int kTiles>
  MVF_INLINE void MultiplyRowTiles(int64_t m, Unit* sums) {
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
    const Unit* panel = Panel();
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
        if constexpr (kAhead) Fetch();
      }
      for (int i = 0; i < kTiles; ++i) rows[i] += operand_.segment_stride;
    }
    ForEachLane<kTiles * kVectors>([&](auto place) __attribute__((always_inline)) {
      constexpr int kAt = decltype(place)::kValue, kTile = kAt / kVectors, kVector = kAt % kVectors;
      if constexpr (kStoresSums<Epilogue>) {
        auto* const out = epilogue_.data + FirstRow(m + kTile * kTileRows) * epilogue_.stride + column_;
        Registers::template Store<kAt>(out + kVector * kLanes, epilogue_.stride * int64_t{sizeof(*out)});
      } else {
        Registers::template Store<kAt>(sums + kTile * kTileRows * kWidth + kVector * kLanes, kColumnBytes);
      }
    });
  }

  void Fetch() {
    for (int64_t i = 0; i < ahead_.lines_per_step; ++i, ahead_.address += kLineBytes) {
      __builtin_prefetch(reinterpret_cast<const void*>(ahead_.address), 0, 2);
    }
  }

  void Finish(int64_t m, const Unit* sums) const {
    for (int i = 0; i < kRowTiles; ++i, m += kTileRows, sums += kTileRows * kWidth) {
      if (m >= end_) return;
      const int64_t first = FirstRow(m);
      FinishRows<kRows>(m, first + height_, sums + (m - first) * kWidth);
    }
  }

  template <int kCount>
  MVF_INLINE void FinishRows(int64_t m, int64_t end, const Unit* sums) const {
    for (; m + kCount <= end; m += kCount, sums += kCount * kWidth) {
      TileOf<Dot, kCount, kVectors> sum;
#pragma GCC unroll 16
      for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) LoadSum(sums + i * kWidth + j * kLanes, sum[i][j]);
      }
      epilogue_(sum, header_, m, column_, last_lanes_);
    }
    if constexpr (kCount > 1) {
      if (m < end) FinishRows<LowerTile<Dot>(kCount)>(m, end, sums);
    }
  }

  const Operand<Unit> operand_;
  const int step_;
  const int64_t begin_, end_;
  const int height_;  // rows of a tile
  const Unit* const header_;
  const Epilogue epilogue_;
  const int64_t column_;
  const int last_lanes_;
  LinesAhead ahead_;
};

}  // namespace
}  // namespace mvf

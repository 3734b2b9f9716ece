// The tile registers of AMX in memory, for tests on processors that lack them.
#pragma once

namespace mvf {
namespace {

struct AmxRegister {
  int rows, row_bytes;
  alignas(kAlignment) uint8_t bytes[16][64];

  template <class Number>
  Number& At(int row, int number) {
    return reinterpret_cast<Number*>(bytes[row])[number];
  }
};

inline thread_local AmxRegister amx_registers[8];

struct AmxInstructions {
  static void Configure(const AmxShapes& shapes) {
    for (int tile = 0; tile < 8; ++tile)
      amx_registers[tile] = {shapes.rows[tile], shapes.row_bytes[tile], {}};
  }
  static void Release() {
    for (AmxRegister& tile : amx_registers) tile = {};
  }

  template <int kTile>
  static void Load(const void* from, int64_t stride_bytes) {
    AmxRegister& tile = amx_registers[kTile];
    for (int row = 0; row < tile.rows; ++row) {
      __builtin_memcpy(tile.bytes[row], static_cast<const char*>(from) + row * stride_bytes,
                       static_cast<size_t>(tile.row_bytes));
    }
  }
  template <int kTile>
  static void Store(void* to, int64_t stride_bytes) {
    const AmxRegister& tile = amx_registers[kTile];
    for (int row = 0; row < tile.rows; ++row) {
      __builtin_memcpy(static_cast<char*>(to) + row * stride_bytes, tile.bytes[row],
                       static_cast<size_t>(tile.row_bytes));
    }
  }

  template <int kSums, int kRowsTile, int kColumns>
  static void MulAddBf16() {
    const auto widened = [](uint16_t bits) {
      const uint32_t float_bits = uint32_t{bits} << 16;
      float value;
      __builtin_memcpy(&value, &float_bits, sizeof(value));
      return value;
    };
    MulAdd<kSums, kRowsTile, kColumns, float, uint16_t, uint16_t>(widened);
  }
  template <int kSums, int kRowsTile, int kColumns>
  static void MulAddBytes() {
    MulAdd<kSums, kRowsTile, kColumns, uint32_t, uint8_t, int8_t>(
        [](auto byte) { return static_cast<uint32_t>(int32_t{byte}); });
  }

 private:
  // sums[m, n] += sum_k rows[m, k] * columns[k / per_unit, n, k % per_unit]
  template <int kSums, int kRowsTile, int kColumns, class Sum, class RowNumber, class ColumnNumber,
            class Widened>
  static void MulAdd(Widened widened) {
    constexpr int kPerUnit = 4 / int{sizeof(RowNumber)};
    AmxRegister &sums = amx_registers[kSums], &rows = amx_registers[kRowsTile],
                &columns = amx_registers[kColumns];
    for (int m = 0; m < sums.rows; ++m) {
      for (int n = 0; n < sums.row_bytes / 4; ++n) {
        Sum sum = sums.At<Sum>(m, n);
        for (int k = 0; k < columns.rows * kPerUnit; ++k) {
          sum += widened(rows.At<RowNumber>(m, k)) *
                 widened(columns.At<ColumnNumber>(k / kPerUnit, n * kPerUnit + k % kPerUnit));
        }
        sums.At<Sum>(m, n) = sum;
      }
    }
  }
};

}  // namespace
}  // namespace mvf

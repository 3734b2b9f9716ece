// The tile registers of AMX: eight, of up to 16 rows of 64 bytes.
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
#pragma once

namespace mvf {
namespace {

// What LDTILECFG reads.
struct alignas(kAlignment) AmxShapes {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

}  // namespace
}  // namespace mvf

#ifdef MVF_EMULATED_AMX
#include "kernels/amx_tiles_emulated-inl.h"
#else
#include "kernels/amx_instructions-inl.h"
#endif

namespace mvf {
namespace {

// The shapes of this thread's registers as Use has them, and zero where they are released.
inline thread_local int amx_shapes = 0;

struct AmxTiles : AmxInstructions {
  static constexpr bool kExist = true;
  static constexpr int kRows = 16, kUnits = 16;  // at most; units of K have four bytes

  // Shapes for sums of `rows` rows, `row_tiles` tiles of as many rows of `units` units, and columns.
  // Loading them takes as long as ten multiplications.
  static MVF_INLINE void Use(int rows, int units, int row_tiles) {
    const int shapes = rows | units << 8 | row_tiles << 16;
    if (shapes == amx_shapes) return;
    amx_shapes = shapes;
    Shape(rows, units, row_tiles);
  }

 private:
  static __attribute__((noinline)) void Shape(int rows, int units, int row_tiles) {
    constexpr int kTiles = 8, kRowBytes = 64, kUnitBytes = 4;
    const int first_row_tile = row_tiles == 1 ? 3 : 4;
    AmxShapes shapes = {};
    shapes.palette = 1;
    for (int tile = 0; tile < kTiles; ++tile) {
      const bool holds_rows = tile >= first_row_tile && tile < first_row_tile + row_tiles;
      const bool holds_columns = tile >= first_row_tile + row_tiles;
      shapes.rows[tile] = static_cast<uint8_t>(holds_columns ? units : rows);
      shapes.row_bytes[tile] = static_cast<uint16_t>(holds_rows ? units * kUnitBytes : kRowBytes);
    }
    Configure(shapes);
  }
};

// A kernel that uses the registers. In use they make every switch of threads dearer.
template <class Args, void (*kRun)(const Args&, Range, void*)>
void RunWithTiles(const Args& args, Range units, void* scratch) {
  kRun(args, units, scratch);
  if (amx_shapes == 0) return;
  AmxTiles::Release();
  amx_shapes = 0;
}

}  // namespace
}  // namespace mvf

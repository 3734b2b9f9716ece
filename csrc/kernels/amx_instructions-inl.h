// The instructions of AMX.
#pragma once

namespace mvf {
namespace {

struct AmxInstructions {
  static void Configure(const AmxShapes& shapes) { asm volatile("ldtilecfg %0" ::"m"(shapes)); }
  static void Release() { asm volatile("tilerelease"); }

  template <int kTile>
  static MVF_INLINE void Load(const void* from, int64_t stride_bytes) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride_bytes), "i"(kTile) : "memory");
  }
  template <int kTile>
  static MVF_INLINE void Store(void* to, int64_t stride_bytes) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride_bytes), "i"(kTile) : "memory");
  }

  // sums[m, n] += sum_k rows[m, k] * columns[n, k], k over pairs of bfloat16 numbers
  template <int kSums, int kRowsTile, int kColumns>
  static MVF_INLINE void MulAddBf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kRowsTile), "i"(kColumns));
  }
  // The same, k over fours of bytes, the rows' unsigned and the columns' signed.
  template <int kSums, int kRowsTile, int kColumns>
  static MVF_INLINE void MulAddBytes() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kRowsTile), "i"(kColumns));
  }
};

}  // namespace
}  // namespace mvf

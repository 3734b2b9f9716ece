// Integer vectors of NEON: four sums, sixteen bytes; their byte table, and what its 8-bit dot policies share.
#pragma once

namespace mvf {
namespace {

struct IntVec {
  int32x4_t v;

  static IntVec Set(int32_t x) { return {vdupq_n_s32(x)}; }
  static IntVec Load(const int32_t* p) { return {vld1q_s32(p)}; }
  // Once more each time: a copy of a register would take a multiplication's place.
  static IntVec LoadAgain(const int32_t* p) { return {LoadHere<int32x4_t>(p)}; }
  void Store(int32_t* p) const { vst1q_s32(p, v); }
  void StorePartial(int32_t* p, int n) const {
    int32_t lanes[Vec::kLanes];
    Store(lanes);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }
};

inline IntVec Sub(IntVec a, IntVec b) { return {vsubq_s32(a.v, b.v)}; }
inline IntVec Mul(IntVec a, IntVec b) { return {vmulq_s32(a.v, b.v)}; }
inline Vec ToFloat(IntVec a) { return {vcvtq_f32_s32(a.v)}; }
inline Vec BitsAsFloat(IntVec a) { return {vreinterpretq_f32_s32(a.v)}; }
// To the nearest whole number, halves to even, where |a| < 2^22; beyond, to one that is no nearer to zero
// than 2^22, with a's sign. The sum rounds: a conversion would hold the pipe of those to floats.
inline IntVec Round(Vec a) {
  const float32x4_t shift = vdupq_n_f32(0x1.8p23f);
  return {vqsubq_s32(vreinterpretq_s32_f32(vaddq_f32(a.v, shift)), vreinterpretq_s32_f32(shift))};
}
// To the nearest and at most 255, which a NaN becomes, too; what is below 0 is left to packing.
inline IntVec RoundToByte(Vec a) { return Round({vminnmq_f32(a.v, vdupq_n_f32(255.0f))}); }
inline Vec FusedMulAdd(Vec a, Vec b, Vec c) { return MulAdd(a, b, c); }
inline Vec FusedMulAdd(Vec a, Vec b, const float* c) {
  return MulAdd(a, b, Vec{LoadAtUse<float32x4_t>(reinterpret_cast<const float(&)[Vec::kLanes]>(*c), a.v)});
}
inline void Pin(IntVec&) {}

// Byte 4 * i + j of what comes out is byte 4 * j + i of what goes in.
inline uint8x16_t TransposeBytes(uint8x16_t bytes) {
  static constexpr uint8_t kOrder[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  return vqtbl1q_u8(bytes, vld1q_u8(kOrder));
}

// Four vectors of sums as bytes, in order; a quarter holds what one of them became. In blocks of four
// channels each block holds what became of its channels in every vector; here there is but one block.
struct ByteVec {
  static constexpr int kBytes = 16;
  uint8x16_t v;

  static MVF_INLINE ByteVec PackBlocks(IntVec a, IntVec b, IntVec c, IntVec d) { return Pack(a, b, c, d); }
  MVF_INLINE ByteVec BlocksInOrder() const { return *this; }
  MVF_INLINE ByteVec OrderedToBlocks() const { return *this; }
  static MVF_INLINE ByteVec Pack(IntVec a, IntVec b, IntVec c, IntVec d) {
    const int16x8_t words_ab = vqmovn_high_s32(vqmovn_s32(a.v), b.v);
    const int16x8_t words_cd = vqmovn_high_s32(vqmovn_s32(c.v), d.v);
    return {vqmovun_high_s16(vqmovun_s16(words_ab), words_cd)};
  }
  static ByteVec Load(const uint8_t* p) { return {vld1q_u8(p)}; }
  void Store(uint8_t* p) const { vst1q_u8(p, v); }
  // Quarters that lie `stride` apart.
  static ByteVec LoadQuarters(const uint8_t* p, int64_t stride) {
    uint8_t bytes[kBytes];
    for (int i = 0; i < 4; ++i) __builtin_memcpy(bytes + i * Vec::kLanes, p + i * stride, Vec::kLanes);
    return Load(bytes);
  }

  // kCount quarters from kFirst on.
  template <int kFirst, int kCount>
  MVF_INLINE void StoreQuarters(uint8_t* p) const {
    if constexpr (kCount == 4) {
      Store(p);
    } else if constexpr (kCount > 1 && kFirst % 2 == 0) {
      const uint64_t half = vgetq_lane_u64(vreinterpretq_u64_u8(v), kFirst / 2);
      __builtin_memcpy(p, &half, sizeof(half));
      if constexpr (kCount == 3) StoreQuarters<kFirst + 2, 1>(p + sizeof(half));
    } else {
      const uint32_t quarter = vgetq_lane_u32(vreinterpretq_u32_u8(v), kFirst);
      __builtin_memcpy(p, &quarter, sizeof(quarter));
      if constexpr (kCount > 1) StoreQuarters<kFirst + 1, kCount - 1>(p + Vec::kLanes);
    }
  }
  // The first n bytes (1 <= n <= kLanes) of a quarter.
  template <int kQuarter>
  MVF_INLINE void StorePartial(uint8_t* p, int n) const {
    const uint32_t quarter = vgetq_lane_u32(vreinterpretq_u32_u8(v), kQuarter);
    __builtin_memcpy(p, &quarter, static_cast<size_t>(n));
  }
};

// Rows of bytes and panels of four signed bytes a lane, without the product.
struct ByteDot {
  using Element = uint8_t;
  using Unit = uint32_t;
  static constexpr int kUnit = 4;

  static MVF_INLINE IntVec Broadcast(const Unit* p) {
    int32_t unit;
    __builtin_memcpy(&unit, p, sizeof(unit));  // rows of bytes may start anywhere
    return IntVec::Set(unit);
  }
  static MVF_INLINE IntVec LoadPanel(const Unit* p) { return {vreinterpretq_s32_u32(vld1q_u32(p))}; }
  static Unit PackUnit(const int8_t* k, int64_t valid) {
    Unit unit = 0;
    __builtin_memcpy(&unit, k, static_cast<size_t>(valid < kUnit ? valid : kUnit));
    return unit;
  }
  static MVF_INLINE void StoreElements(ByteVec ordered, Element* to) { ordered.Store(to); }
  // Four pixels, in blocks, as units of pixels: one for each channel.
  static MVF_INLINE void StorePixels(ByteVec blocks, Element* to) { vst1q_u8(to, TransposeBytes(blocks.v)); }
  // Units of pixels, a pixel earlier or later than `middle`.
  static MVF_INLINE IntVec PixelBefore(IntVec before, IntVec middle) {
    const uint32x4_t carried = vshrq_n_u32(vreinterpretq_u32_s32(before.v), 24);
    return {vreinterpretq_s32_u32(vsliq_n_u32(carried, vreinterpretq_u32_s32(middle.v), 8))};
  }
  static MVF_INLINE IntVec PixelAfter(IntVec middle, IntVec after) {
    const uint32x4_t carried = vshlq_n_u32(vreinterpretq_u32_s32(after.v), 24);
    return {vreinterpretq_s32_u32(vsriq_n_u32(carried, vreinterpretq_u32_s32(middle.v), 8))};
  }
};

// A unit from any address in the first lane, and zeros.
inline IntVec LoadUnit(const uint32_t* p) {
  struct Unaligned {
    uint32_t unit;
  } __attribute__((packed, may_alias));
  int32x4_t lanes;
  asm volatile("ldr %s0, %1" : "=w"(lanes) : "m"(*reinterpret_cast<const Unaligned*>(p)));
  return {lanes};
}

// The same where products are of signed bytes: rows are stored less 128, which the panels' headers put back.
struct SignedByteDot : ByteDot {
  static MVF_INLINE void StoreElements(ByteVec ordered, Element* to) {
    ByteDot::StoreElements(Less128(ordered), to);
  }
  static MVF_INLINE void StorePixels(ByteVec blocks, Element* to) {
    ByteDot::StorePixels(Less128(blocks), to);
  }

 private:
  static MVF_INLINE ByteVec Less128(ByteVec bytes) { return {veorq_u8(bytes.v, vdupq_n_u8(0x80))}; }
};

// table[byte] for each byte of a vector, in four tables of sixty-four: an index beyond a table gives zero.
// The instruction that would leave what is there takes longer than this one and a disjunction.
struct ByteTable {
  const uint8_t* table;

  static void Pack(const uint8_t* table, uint8_t* packed) { __builtin_memcpy(packed, table, 256); }
  explicit ByteTable(const uint8_t* bytes) : table(bytes) {}
  MVF_INLINE ByteVec operator()(ByteVec x) const {
    const uint8x16_t size = vdupq_n_u8(64);
    uint8x16_t index = x.v, result = vqtbl4q_u8(vld1q_u8_x4(table), index);
#pragma GCC unroll 3
    for (int part = 1; part < 4; ++part) {
      index = vsubq_u8(index, size);
      result = vorrq_u8(result, vqtbl4q_u8(vld1q_u8_x4(table + 64 * part), index));
    }
    return {result};
  }
};

}  // namespace
}  // namespace mvf

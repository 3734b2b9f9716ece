// Integer vectors in plain C++: four sums, sixteen bytes; their 8-bit dot policy and byte table.
#pragma once

namespace mvf {
namespace {

struct IntVec {
  int32_t v[Vec::kLanes];

  static IntVec Set(int32_t x) { return {{x, x, x, x}}; }
  static IntVec Load(const int32_t* p) { return {{p[0], p[1], p[2], p[3]}}; }
  static IntVec LoadAgain(const int32_t* p) { return Load(p); }
  void Store(int32_t* p) const { StorePartial(p, Vec::kLanes); }
  void StorePartial(int32_t* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = v[i];
  }
};

template <class Function>
inline IntVec ForEachInt(Function function) {
  return {{function(0), function(1), function(2), function(3)}};
}

// Integer arithmetic wraps around, as vectors do.
inline int32_t Wrapped(uint32_t x) { return static_cast<int32_t>(x); }
inline IntVec Sub(IntVec a, IntVec b) {
  return ForEachInt(
      [&](int i) { return Wrapped(static_cast<uint32_t>(a.v[i]) - static_cast<uint32_t>(b.v[i])); });
}
inline IntVec Mul(IntVec a, IntVec b) {
  return ForEachInt(
      [&](int i) { return Wrapped(static_cast<uint32_t>(a.v[i]) * static_cast<uint32_t>(b.v[i])); });
}
inline Vec ToFloat(IntVec a) {
  return ForEachLane([&](int i) { return static_cast<float>(a.v[i]); });
}
inline Vec BitsAsFloat(IntVec a) {
  Vec bits;
  __builtin_memcpy(&bits, a.v, sizeof(bits));
  return bits;
}
// Beyond 32 bits it saturates.
inline IntVec Round(Vec a) {
  return ForEachInt([&](int i) {
    const long rounded = lrintf(a.v[i]);
    return static_cast<int32_t>(rounded < INT32_MIN ? INT32_MIN : rounded > INT32_MAX ? INT32_MAX : rounded);
  });
}
// To the nearest and at most 255, which a NaN becomes, too; what is below 0 is left to packing.
inline IntVec RoundToByte(Vec a) { return Round(Min(a, Vec::Set(255.0f))); }
inline Vec FusedMulAdd(Vec a, Vec b, Vec c) {
  return ForEachLane([&](int i) { return fmaf(a.v[i], b.v[i], c.v[i]); });
}
inline Vec FusedMulAdd(Vec a, Vec b, const float* c) { return FusedMulAdd(a, b, Vec::Load(c)); }
inline void Pin(IntVec&) {}

// Four vectors of sums as bytes, in order; a quarter holds what one of them became. In blocks of four
// channels each block holds what became of its channels in every vector; here there is but one block.
struct ByteVec {
  static constexpr int kBytes = 4 * Vec::kLanes;
  uint8_t v[kBytes];

  static ByteVec PackBlocks(IntVec a, IntVec b, IntVec c, IntVec d) { return Pack(a, b, c, d); }
  ByteVec BlocksInOrder() const { return *this; }
  ByteVec OrderedToBlocks() const { return *this; }
  static ByteVec Pack(IntVec a, IntVec b, IntVec c, IntVec d) {
    const IntVec* const from[4] = {&a, &b, &c, &d};
    ByteVec bytes;
    for (int i = 0; i < kBytes; ++i) {
      const int32_t x = from[i / Vec::kLanes]->v[i % Vec::kLanes];
      bytes.v[i] = static_cast<uint8_t>(x < 0 ? 0 : x > 255 ? 255 : x);
    }
    return bytes;
  }
  static ByteVec Load(const uint8_t* p) {
    ByteVec bytes;
    __builtin_memcpy(bytes.v, p, kBytes);
    return bytes;
  }
  void Store(uint8_t* p) const { __builtin_memcpy(p, v, kBytes); }
  // Quarters that lie `stride` apart.
  static ByteVec LoadQuarters(const uint8_t* p, int64_t stride) {
    ByteVec bytes;
    for (int i = 0; i < 4; ++i) __builtin_memcpy(bytes.v + i * Vec::kLanes, p + i * stride, Vec::kLanes);
    return bytes;
  }

  // kCount quarters from kFirst on.
  template <int kFirst, int kCount>
  void StoreQuarters(uint8_t* p) const {
    __builtin_memcpy(p, v + kFirst * Vec::kLanes, kCount * Vec::kLanes);
  }
  // The first n bytes (1 <= n <= kLanes) of a quarter.
  template <int kQuarter>
  void StorePartial(uint8_t* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = v[kQuarter * Vec::kLanes + i];
  }
};

struct Int8Dot {
  using Element = uint8_t;  // of rows that are multiplied
  using Unit = uint32_t;
  static constexpr int kUnit = 4;
  static IntVec Broadcast(const Unit* p) {
    int32_t unit;
    __builtin_memcpy(&unit, p,
                     sizeof(unit));  // rows of bytes may start anywhere
    return IntVec::Set(unit);
  }
  static IntVec LoadPanel(const Unit* p) {
    IntVec units;
    __builtin_memcpy(units.v, p, sizeof(units.v));
    return units;
  }
  static IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    return ForEachInt([&](int i) {
      uint8_t bytes[kUnit];
      int8_t weights[kUnit];
      __builtin_memcpy(bytes, &a.v[i], kUnit);
      __builtin_memcpy(weights, &b.v[i], kUnit);
      int32_t products = 0;
      for (int k = 0; k < kUnit; ++k) products += bytes[k] * weights[k];
      return Wrapped(static_cast<uint32_t>(sum.v[i]) + static_cast<uint32_t>(products));
    });
  }
  static Unit PackUnit(const int8_t* k, int64_t valid) {
    Unit unit = 0;
    __builtin_memcpy(&unit, k, static_cast<size_t>(valid < kUnit ? valid : kUnit));
    return unit;
  }

  static void StoreElements(ByteVec ordered, Element* to) { ordered.Store(to); }
  // Four pixels, in blocks, as units of pixels: one for each channel.
  static void StorePixels(ByteVec blocks, Element* to) {
    for (int i = 0; i < ByteVec::kBytes; ++i) to[i] = blocks.v[i % kUnit * Vec::kLanes + i / kUnit];
  }
  // Units of pixels, a pixel earlier or later than `middle`.
  static IntVec PixelBefore(IntVec before, IntVec middle) {
    return ForEachInt([&](int i) {
      return Wrapped(static_cast<uint32_t>(middle.v[i]) << 8 | static_cast<uint32_t>(before.v[i]) >> 24);
    });
  }
  static IntVec PixelAfter(IntVec middle, IntVec after) {
    return ForEachInt([&](int i) {
      return Wrapped(static_cast<uint32_t>(middle.v[i]) >> 8 | static_cast<uint32_t>(after.v[i]) << 24);
    });
  }
};

// table[byte] for each byte of a vector.
struct ByteTable {
  const uint8_t* table;

  static void Pack(const uint8_t* table, uint8_t* packed) { __builtin_memcpy(packed, table, 256); }
  explicit ByteTable(const uint8_t* bytes) : table(bytes) {}
  ByteVec operator()(ByteVec x) const {
    for (uint8_t& byte : x.v) byte = table[byte];
    return x;
  }
};

}  // namespace
}  // namespace mvf

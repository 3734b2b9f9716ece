// Sums of weighted bytes, several side by side: the arithmetic of resizing, exact in 32 bits.
// bytes[i] = clamp((half + sum_t weight[t] * input[t][i]) >> kWeightBits, 0, 255)
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "image/taps.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace mvf {

constexpr int32_t kHalfWeight = 1 << (kWeightBits - 1);

// Two neighbouring weights, in whatever form a kind of sums multiplies by.
struct WeightPair {
  int32_t first;
  int32_t second;
};

// Each kind of sums has Pair(w0, w1) and a class Sums, whose Add(p, q, pair) adds w0 * p[i] + w1 * q[i] for
// exactly kBytes bytes, which Store(out) writes.

// For any machine, and any number of bytes.
struct PortableSums {
  static WeightPair Pair(int32_t first, int32_t second) { return {first, second}; }

  template <int kBytes>
  struct Sums {
    int32_t sum[kBytes];

    Sums() { std::fill_n(sum, kBytes, kHalfWeight); }
    void Add(const uint8_t* p, const uint8_t* q, WeightPair pair) {
      for (int i = 0; i < kBytes; ++i) sum[i] += p[i] * pair.first + q[i] * pair.second;
    }
    void Store(uint8_t* out) const {
      for (int i = 0; i < kBytes; ++i) {
        out[i] = static_cast<uint8_t>(std::clamp(sum[i] >> kWeightBits, 0, 255));
      }
    }
  };
};

#if defined(__SSE2__)

// SSE2 multiplies 16 bits and adds up pairs; so weights are split: w = 2^12 high + low.
struct SseSums {
  static constexpr int kLowBits = 12;

  static int32_t High(int32_t weight) { return (weight + (1 << (kLowBits - 1))) >> kLowBits; }
  static int32_t Both(int32_t first, int32_t second) {
    return static_cast<int32_t>((static_cast<uint32_t>(second) << 16) |
                                (static_cast<uint32_t>(first) & 0xffff));
  }
  static WeightPair Pair(int32_t first, int32_t second) {
    const int32_t high0 = High(first), high1 = High(second);
    return {Both(high0, high1), Both(first - high0 * (1 << kLowBits), second - high1 * (1 << kLowBits))};
  }

  static __m128i LoadFour(const uint8_t* p) {
    int32_t four;
    std::memcpy(&four, p, sizeof(four));
    return _mm_cvtsi32_si128(four);
  }
  static __m128i LoadEight(const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }

  template <int kBytes>
  struct Sums {
    static constexpr int kQuads = kBytes / 4;
    static_assert(kBytes == 4 || kBytes % 8 == 0, "loads are of four bytes or eight");
    __m128i high[kQuads];
    __m128i low[kQuads];

    Sums() {
      for (int i = 0; i < kQuads; ++i) {
        high[i] = _mm_setzero_si128();
        low[i] = _mm_set1_epi32(kHalfWeight);
      }
    }
    void Add(const uint8_t* p, const uint8_t* q, WeightPair pair) {
      const __m128i zero = _mm_setzero_si128();
      const __m128i highs = _mm_set1_epi32(pair.first), lows = _mm_set1_epi32(pair.second);
      const auto add = [&](int i, __m128i words) {
        high[i] = _mm_add_epi32(high[i], _mm_madd_epi16(words, highs));
        low[i] = _mm_add_epi32(low[i], _mm_madd_epi16(words, lows));
      };
      if constexpr (kQuads == 1) {
        add(0, _mm_unpacklo_epi8(_mm_unpacklo_epi8(LoadFour(p), LoadFour(q)), zero));
      } else {
        for (int i = 0; i < kQuads; i += 2) {
          const __m128i both = _mm_unpacklo_epi8(LoadEight(p + 4 * i), LoadEight(q + 4 * i));
          add(i, _mm_unpacklo_epi8(both, zero));
          add(i + 1, _mm_unpackhi_epi8(both, zero));
        }
      }
    }
    void Store(uint8_t* out) const {
      for (int i = 0; i < kQuads; ++i) {
        const __m128i sum = _mm_add_epi32(_mm_slli_epi32(high[i], kLowBits), low[i]);
        const __m128i words = _mm_packs_epi32(_mm_srai_epi32(sum, kWeightBits), sum);
        const int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
        std::memcpy(out + 4 * i, &four, sizeof(four));
      }
    }
  };
};
using FastSums = SseSums;

#elif defined(__ARM_NEON) && defined(__aarch64__)

struct NeonSums {
  static WeightPair Pair(int32_t first, int32_t second) { return {first, second}; }

  static int32x4_t Load(const uint8_t* p) {
    uint32_t four;
    std::memcpy(&four, p, sizeof(four));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four)))));
  }

  template <int kBytes>
  struct Sums {
    static constexpr int kQuads = kBytes / 4;
    static_assert(kBytes % 4 == 0, "loads are of four bytes");
    int32x4_t sum[kQuads];

    Sums() { std::fill_n(sum, kQuads, vdupq_n_s32(kHalfWeight)); }
    void Add(const uint8_t* p, const uint8_t* q, WeightPair pair) {
      for (int i = 0; i < kQuads; ++i) {
        sum[i] = vmlaq_n_s32(vmlaq_n_s32(sum[i], Load(p + 4 * i), pair.first), Load(q + 4 * i), pair.second);
      }
    }
    void Store(uint8_t* out) const {
      for (int i = 0; i < kQuads; ++i) {
        const int16x4_t words = vqmovn_s32(vshrq_n_s32(sum[i], kWeightBits));
        const uint8x8_t bytes = vqmovun_s16(vcombine_s16(words, words));
        const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
        std::memcpy(out + 4 * i, &four, sizeof(four));
      }
    }
  };
};
using FastSums = NeonSums;

#else

using FastSums = PortableSums;

#endif

}  // namespace mvf

// The 8-bit dot policy of NEON alone: a byte times a signed byte fits in 16 bits.
#pragma once

namespace mvf {
namespace {

struct Int8Dot : ByteDot {
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    const uint8x16_t bytes = vreinterpretq_u8_s32(a.v);
    const int8x16_t weights = vreinterpretq_s8_s32(b.v);
    const int16x8_t low =
        vmulq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))), vmovl_s8(vget_low_s8(weights)));
    const int16x8_t high = vmulq_s16(vreinterpretq_s16_u16(vmovl_high_u8(bytes)), vmovl_high_s8(weights));
    return {vaddq_s32(sum.v, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)))};
  }
};

}  // namespace
}  // namespace mvf

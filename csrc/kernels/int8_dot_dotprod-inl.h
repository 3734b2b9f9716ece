// The 8-bit dot policy by sdot, whose bytes are both signed: a byte's lower seven bits and its uppermost one,
// which alone is -128, are multiplied apart.
#pragma once

namespace mvf {
namespace {

struct Int8Dot : ByteDot {
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    const int8x16_t bytes = vreinterpretq_s8_s32(a.v), weights = vreinterpretq_s8_s32(b.v);
    const int8x16_t top = vdupq_n_s8(-128);
    const int32x4_t minus = vdotq_s32(vdupq_n_s32(0), vandq_s8(bytes, top), weights);
    return {vsubq_s32(vdotq_s32(sum.v, vbicq_s8(bytes, top), weights), minus)};
  }
};

}  // namespace
}  // namespace mvf

// The 8-bit dot policy by usdot: bytes times signed bytes.
#pragma once

namespace mvf {
namespace {

struct Int8Dot : ByteDot {
  static MVF_INLINE IntVec MulAdd(IntVec a, IntVec b, IntVec sum) {
    return {vusdotq_s32(sum.v, vreinterpretq_u8_s32(a.v), vreinterpretq_s8_s32(b.v))};
  }
};

}  // namespace
}  // namespace mvf

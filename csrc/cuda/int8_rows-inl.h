// Float rows on their way to bytes. A row belongs to four lanes, and its sums are added up in their order:
// the mean and variance of the plain C++ kernels of the CPU, bit for bit.
#pragma once

#include "cuda/int8_matrix.h"

namespace mvf::cuda {

constexpr int kRowLanes = 4;
constexpr int kWarpRows = kWarp / kRowLanes;

// What a row has subtracted from it and is multiplied by before it is quantised.
struct ByteMoments {
  float mean;
  float scale;

  MVF_DEVICE float Normalize(float value) const { return Multiply(Subtract(value, mean), scale); }
};

MVF_DEVICE float AddRowLanes(float value) {
  value = Add(value, ShuffleXor(value, 2));
  return Add(value, ShuffleXor(value, 1));
}

// Of `kWarpRows` rows by a warp, all of whose lanes call together: each with the row of its four, or with 0
// channels. The count is the row's all the same.
MVF_DEVICE ByteMoments ByteMomentsOf(const float* row, int channels, int count, float epsilon) {
  const float inverse_count = Divide(1.0f, ToReal(count));
  const int lane = LaneIndex() % kRowLanes;
  float sum = 0.0f, squares = 0.0f;
  for (int c = lane; c < channels; c += kRowLanes) sum = Add(sum, row[c]);
  const float mean = Multiply(AddRowLanes(sum), inverse_count);
  for (int c = lane; c < channels; c += kRowLanes) {
    const float deviation = Subtract(row[c], mean);
    squares = Add(Multiply(deviation, deviation), squares);
  }
  const float variance = Add(Multiply(AddRowLanes(squares), inverse_count), epsilon);
  return {mean, Divide(1.0f, SquareRoot(variance))};
}

// Four neighbours of a row, zeros behind its end; `whole` where all four are there at a multiple of sixteen
// bytes.
struct FourFloats {
  float value[4];

  MVF_DEVICE FourFloats(const float* from, int count, bool whole) {
    if (whole) {
      const uint4 bits = Load16(from);
      value[0] = BitsAsFloat(bits.x);
      value[1] = BitsAsFloat(bits.y);
      value[2] = BitsAsFloat(bits.z);
      value[3] = BitsAsFloat(bits.w);
      return;
    }
    MVF_UNROLL
    for (int i = 0; i < 4; ++i) value[i] = i < count ? from[i] : 0.0f;
  }
};

// The same as bytes, zeros where there is nothing.
MVF_DEVICE uint32_t QuantizeFour(const float* from, int count, bool whole, const ByteMoments& moments,
                                 const Quantizer& quantizer) {
  if (count <= 0) return 0;
  const FourFloats floats(from, count, whole && count >= 4);
  uint32_t word = 0;
  MVF_UNROLL
  for (int i = 0; i < 4; ++i) {
    const uint32_t byte = quantizer(moments.Normalize(floats.value[i]));
    word |= (i < count ? byte : 0) << (8 * i);
  }
  return word;
}

}  // namespace mvf::cuda

#include <algorithm>
#include <random>
#include <vector>

#include "check.h"
#include "image/byte_sums.h"

// This machine's sums of weighted bytes beside those of plain loops in 64 bits.
namespace mvf_test {
namespace {

using namespace mvf;

struct Case {
  std::vector<std::vector<uint8_t>> inputs;
  std::vector<int32_t> weights;
};

// Weights that a filter could have: of any sign, one whole in all.
Case RandomCase(size_t taps, int bytes, std::mt19937& generator) {
  Case random;
  int32_t left = 1 << kWeightBits;
  for (size_t t = 0; t < taps; ++t) {
    std::vector<uint8_t> input;
    for (int i = 0; i < bytes; ++i) {
      const uint32_t kind = generator() % 4;
      input.push_back(static_cast<uint8_t>(kind == 0 ? 0 : kind == 1 ? 255 : generator()));
    }
    random.inputs.push_back(input);
    // Their positive ones must not exceed two wholes, or 32 bits would be too few.
    constexpr int32_t kEighth = 1 << (kWeightBits - 3);
    const int32_t most = (1 << kWeightBits) / static_cast<int32_t>(taps);
    const auto draw = static_cast<int32_t>(generator() % static_cast<uint32_t>(most + kEighth));
    const int32_t weight = t + 1 == taps ? left : draw - kEighth;
    random.weights.push_back(weight);
    left -= weight;
  }
  return random;
}

template <class Kind, int kBytes>
void Check(const Case& random) {
  typename Kind::template Sums<kBytes> sums;
  const size_t taps = random.weights.size();
  for (size_t t = 0; t < taps; t += 2) {
    const bool is_last = t + 1 == taps;
    const std::vector<uint8_t>& next = random.inputs[is_last ? t : t + 1];
    sums.Add(random.inputs[t].data(), next.data(),
             Kind::Pair(random.weights[t], is_last ? 0 : random.weights[t + 1]));
  }
  std::vector<uint8_t> out(kBytes);
  sums.Store(out.data());
  for (size_t i = 0; i < kBytes; ++i) {
    int64_t exact = kHalfWeight;
    for (size_t t = 0; t < taps; ++t) exact += int64_t{random.weights[t]} * random.inputs[t][i];
    CHECK(out[i] == std::min<int64_t>(std::max<int64_t>(exact >> kWeightBits, 0), 255));
  }
}

TEST(byte_sums, are_exact_for_any_weights_and_bytes) {
  std::mt19937 generator(1);
  for (size_t taps : {1, 2, 3, 4, 5}) {
    for (int repeat = 0; repeat < 200; ++repeat) {
      const Case random = RandomCase(taps, 16, generator);
      Check<PortableSums, 1>(random);
      Check<PortableSums, 4>(random);
      Check<FastSums, 4>(random);
      Check<FastSums, 16>(random);
    }
  }
}

TEST(byte_sums, of_nothing_are_black) {
  uint8_t out[16];
  FastSums::Sums<16>().Store(out);
  for (uint8_t byte : out) CHECK(byte == 0);
}

}  // namespace
}  // namespace mvf_test

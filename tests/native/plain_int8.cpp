#include "plain_int8.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "check.h"
#include "kernels/dispatch.h"
#include "short_tables.h"

namespace mvf_test {

Bytes Random::MakeBytes(int64_t count, Draw draw) {
  Bytes bytes(static_cast<size_t>(count), 255);
  if (draw == Draw::kRandom) {
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(generator_());
  }
  return bytes;
}

Weights Random::MakeWeights(int64_t count, Draw draw) {
  Weights weights(static_cast<size_t>(count), draw == Draw::kLargest ? 127 : -128);
  if (draw == Draw::kRandom) {
    for (int8_t& weight : weights) weight = static_cast<int8_t>(generator_());
  }
  return weights;
}

std::vector<float> Random::MakeFloats(int64_t count, float low, float high) {
  std::uniform_real_distribution<float> distribution(low, high);
  std::vector<float> floats(static_cast<size_t>(count));
  for (float& value : floats) value = distribution(generator_);
  return floats;
}

std::vector<int32_t> Random::MakeInts(int64_t count, int32_t low, int32_t high) {
  std::uniform_int_distribution<int32_t> distribution(low, high);
  std::vector<int32_t> ints(static_cast<size_t>(count));
  for (int32_t& value : ints) value = distribution(generator_);
  return ints;
}

PlainRequantization::PlainRequantization(Random& random, int64_t columns, int64_t k, bool with_table)
    : offset(random.MakeFloats(columns, -10.0f, 265.0f)) {
  const float typical = 1.0f / (100.0f * std::sqrt(static_cast<float>(k)));
  multiplier = random.MakeFloats(columns, 0.2f * typical, 2.0f * typical);
  if (with_table) table = random.MakeBytes(256, Draw::kRandom);
}

mvf::Requantization PlainRequantization::Get() const {
  return {multiplier.data(), offset.data(), table.empty() ? nullptr : table.data()};
}

uint8_t PlainRequantization::Apply(int32_t sum, int64_t column) const {
  const size_t n = static_cast<size_t>(column);
  const float value = std::fma(static_cast<float>(sum), multiplier[n], offset[n]);
  const float byte = std::nearbyint(std::min(std::max(value, 0.0f), 255.0f));
  return table.empty() ? static_cast<uint8_t>(byte) : table[static_cast<size_t>(byte)];
}

uint8_t PlainQuantize(float value, float scale, int32_t zero) {
  const float position = std::fma(value, 1.0f / scale, static_cast<float>(zero));
  if (std::isnan(position)) return 255;
  return static_cast<uint8_t>(std::nearbyint(std::min(std::max(position, 0.0f), 255.0f)));
}

int64_t PlainDot(const uint8_t* a, const int8_t* w, int64_t k, int64_t zero) {
  int64_t sum = 0;
  for (int64_t i = 0; i < k; ++i) sum += (a[i] - zero) * w[i];
  return sum;
}

GappedBytes::GappedBytes(int64_t height, int64_t width, int64_t channels) {
  map_ = {nullptr, height, width, channels, 0, channels + 3};
  map_.row_stride = width * map_.pixel_stride + 5;
  // The last pixel ends where the memory does, so that a sanitizer sees what goes beyond it.
  const int64_t size = (height - 1) * map_.row_stride + (width - 1) * map_.pixel_stride + channels;
  bytes_.assign(static_cast<size_t>(size), kGap);
  map_.data = bytes_.data();
}

GappedBytes::GappedBytes(int64_t height, int64_t width, const Bytes& dense, int64_t channels)
    : GappedBytes(height, width, channels) {
  for (int64_t i = 0; i < height * width * channels; ++i) {
    const int64_t pixel = i / channels;
    map_.Pixel<uint8_t>(pixel / width, pixel % width)[i % channels] = dense[static_cast<size_t>(i)];
  }
}

Bytes GappedBytes::Dense() const {
  Bytes dense;
  for (int64_t y = 0; y < map_.height; ++y) {
    for (int64_t x = 0; x < map_.width; ++x) {
      const uint8_t* pixel = map_.Pixel<const uint8_t>(y, x);
      dense.insert(dense.end(), pixel, pixel + map_.channels);
    }
  }
  return dense;
}

bool GappedBytes::GapsAreWhole() const {
  for (int64_t i = 0; i < static_cast<int64_t>(bytes_.size()); ++i) {
    const int64_t in_row = i % map_.row_stride;
    const bool inside = in_row < map_.width * map_.pixel_stride && in_row % map_.pixel_stride < map_.channels;
    if (!inside && bytes_[static_cast<size_t>(i)] != kGap) return false;
  }
  return true;
}

ExactMemory::ExactMemory(size_t bytes) {
  if (posix_memalign(&data_, mvf::kAlignment, bytes) != 0) throw std::bad_alloc();
  std::memset(data_, 0xff, bytes);
}

ExactMemory::~ExactMemory() { std::free(data_); }

void ForEachInt8Table(const std::function<void(const mvf::Int8Kernels&, int)>& run) {
  for (const mvf::KernelTable* table : RunnableOrEmulatedTables()) {
    CHECK(table->int8);
    for (int parts : {1, 3}) {
      try {
        run(*table->int8, parts);
      } catch (const Failure& failure) {
        throw Failure(std::string(table->name) + ", " + std::to_string(parts) + " parts: " + failure.what());
      }
    }
  }
}

}  // namespace mvf_test

#include "python/channel_norm.h"

#include <cmath>

#include "engine/training_work.h"

namespace mvf {

ChannelSums::ChannelSums(const std::vector<double>& parts, int64_t channels)
    : first(static_cast<size_t>(channels)), second(first) {
  const size_t count = first.size();
  for (size_t at = 0; at < parts.size(); at += 2 * count) {
    for (size_t c = 0; c < count; ++c) {
      first[c] += parts[at + c];
      second[c] += parts[at + count + c];
    }
  }
}

std::vector<double> ChunkSums(int64_t rows, int64_t channels) {
  return std::vector<double>(static_cast<size_t>(2 * ChannelSumChunks(rows) * channels));
}

ChannelAffine::ChannelAffine(const float* weight, const float* bias, const float* mean, const float* variance,
                             double epsilon, size_t channels)
    : scale(channels), offset(channels) {
  for (size_t c = 0; c < channels; ++c) {
    const double exact = weight[c] / std::sqrt(variance[c] + epsilon);
    scale[c] = static_cast<float>(exact);
    offset[c] = static_cast<float>(bias[c] - mean[c] * exact);
  }
}

void CombineMoments(const std::vector<Part>& parts, const std::vector<double>& sums, int64_t channels,
                    float* mean, float* variance) {
  const size_t width = static_cast<size_t>(channels);
  for (size_t c = 0; c < width; ++c) {
    double count = 0, average = 0, squares = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].rows == 0) continue;
      const double rows = static_cast<double>(parts[i].rows), sum = sums[2 * i * width + c];
      const double distance = parts[i].first_row[c] + sum / rows - average;
      const double own_squares = sums[(2 * i + 1) * width + c] - sum * sum / rows;
      squares += own_squares + distance * distance * count * rows / (count + rows);
      average += distance * rows / (count + rows);
      count += rows;
    }
    mean[c] = static_cast<float>(average);
    variance[c] = static_cast<float>(std::fmax(squares / count, 0.0));
  }
}

BatchNormOf::BatchNormOf(const Object& norm, const char* name, int64_t channels, double epsilon,
                         Activation activation)
    : present_(!norm.is_none()), channels_(channels), epsilon_(epsilon), activation_(activation) {
  if (!present_) return;
  rows_ = Weight::Required(norm, name, {4, channels});
  ChannelAffine affine(weight(), bias(), mean(), variance(), epsilon_, static_cast<size_t>(channels));
  scale_ = std::move(affine.scale);
  offset_ = std::move(affine.offset);
}

ChannelNorm BatchNormOf::channel_norm() const {
  if (!present_) return {};
  return {scale_.data(), offset_.data(), mean(), activation_};
}

double BatchNormOf::inverse_deviation(size_t channel) const {
  return 1.0 / std::sqrt(variance()[channel] + epsilon_);
}

NormGradientOf::NormGradientOf(const BatchNormOf& norm, const float* gradients, int64_t rows,
                               int64_t channels)
    : mean_(norm ? norm.mean() : nullptr) {
  if (!norm) return;
  const size_t count = static_cast<size_t>(channels);
  for (size_t c = 0; c < count; ++c) {
    const double deviation = norm.inverse_deviation(c), scale = norm.weight()[c] * deviation;
    const double share = scale / static_cast<double>(rows);
    inner_scale_.push_back(static_cast<float>(scale));
    input_scale_.push_back(static_cast<float>(-share * deviation * gradients[c]));
    shift_.push_back(static_cast<float>(-share * gradients[count + c]));
  }
}

NormGradient NormGradientOf::At(const float* inner, const float* raw) const {
  if (mean_ == nullptr) return {inner, nullptr, nullptr, nullptr, nullptr, nullptr};
  return {inner, raw, inner_scale_.data(), input_scale_.data(), mean_, shift_.data()};
}

}  // namespace mvf

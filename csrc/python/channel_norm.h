// What bindings of batch norms compute for each channel between a kernel's passes.
#pragma once

#include <vector>

#include "kernels/training_kernels.h"
#include "python/ops_arguments.h"

namespace mvf {

// Per channel, two sums over all parts of the rows: [parts][2][channels].
struct ChannelSums {
  std::vector<double> first, second;

  ChannelSums(const std::vector<double>& parts, int64_t channels);
};

// For parts [chunks of x's rows].
std::vector<double> ChunkSums(int64_t rows, int64_t channels);

// What batch norm multiplies by and adds.
struct ChannelAffine {
  std::vector<float> scale, offset;

  ChannelAffine(const float* weight, const float* bias, const float* mean, const float* variance,
                double epsilon, size_t channels);
};

// Mean and variance [channels] of a map that was summed up in parts, each as d = x - (the part's first row)
// and d^2. Chan et al., "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances".
struct Part {
  int64_t rows;
  const float* first_row;  // of channels
};
void CombineMoments(const std::vector<Part>& parts, const std::vector<double>& sums, int64_t channels,
                    float* mean, float* variance);

// A batch norm by the batch's own statistics, as Python hands it in: rows of [4, channels], which are weight,
// bias, mean and variance; or None.
class BatchNormOf {
 public:
  BatchNormOf(const Object& norm, const char* name, int64_t channels, double epsilon, Activation activation);

  explicit operator bool() const { return present_; }
  // Lives as long as this object.
  ChannelNorm channel_norm() const;
  double inverse_deviation(size_t channel) const;

  const float* weight() const { return rows_.data(); }
  const float* bias() const { return rows_.data() + channels_; }
  const float* mean() const { return rows_.data() + 2 * channels_; }
  const float* variance() const { return rows_.data() + 3 * channels_; }

 private:
  bool present_;
  int64_t channels_;
  double epsilon_;
  Activation activation_;
  Weight rows_;
  std::vector<float> scale_, offset_;
};

// What turns the gradient behind a norm into the one before it, from the gradients [2, channels] of the
// norm's weight and bias: see NormalizeBackwardArgs.
class NormGradientOf {
 public:
  NormGradientOf(const BatchNormOf& norm, const float* gradients, int64_t rows, int64_t channels);

  NormGradient At(const float* inner, const float* raw) const;

 private:
  const float* mean_;
  std::vector<float> inner_scale_, input_scale_, shift_;
};

}  // namespace mvf

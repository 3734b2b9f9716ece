// Fills the table of training kernels from the loops, for the vectors that the including file has chosen.
#pragma once

// Each builds on those before it.
// clang-format off
#include "kernels/attention_backward-inl.h"
#include "kernels/weight_gradient-inl.h"
#include "kernels/batch_norm-inl.h"
// clang-format on

namespace mvf {
namespace {

constexpr TrainingKernels MakeTrainingKernels() {
  TrainingKernels kernels = {};
  kernels.attention_backward = {AttentionBackwardScratchBytes, AttentionBackwardRun};
  kernels.weight_gradient = {WeightGradientScratchBytes, WeightGradientRun};
  kernels.channel_moments = {ChannelSumScratchBytes<ChannelMomentsArgs>, ChannelMomentsRun};
  kernels.normalize = {NoScratchBytes<NormalizeArgs>, NormalizeRun};
  kernels.normalize_backward_sums = {NormalizeBackwardSumsScratchBytes, NormalizeBackwardSumsRun};
  kernels.normalize_backward = {NoScratchBytes<NormalizeBackwardArgs>, NormalizeBackwardRun};
  return kernels;
}

}  // namespace
}  // namespace mvf

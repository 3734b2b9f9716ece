// Fills the table of training kernels from the loops, for the vectors that the including file has chosen.
#pragma once

// Each builds on those before it.
// clang-format off
#include "kernels/attention_backward-inl.h"
#include "kernels/weight_gradient-inl.h"
#include "kernels/batch_norm-inl.h"
#include "kernels/norm_rows-inl.h"
#include "kernels/norm_linear-inl.h"
#include "kernels/norm_depthwise-inl.h"
#include "kernels/norm_depthwise_backward-inl.h"
#include "kernels/layer_norm_backward-inl.h"
#include "kernels/conv3x3_weight_gradient-inl.h"
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
  kernels.norm_linear = {NormLinearScratchBytes, NormLinearRun};
  kernels.norm_linear_backward = {NormLinearBackwardScratchBytes, NormLinearBackwardRun};
  kernels.norm_depthwise = {NormDepthwiseScratchBytes, NormDepthwiseRun};
  kernels.norm_depthwise_backward = {NormDepthwiseBackwardScratchBytes, NormDepthwiseBackwardRun};
  kernels.layer_norm_backward = {LayerNormBackwardScratchBytes, LayerNormBackwardRun};
  kernels.conv3x3_weight_gradient = {Conv3x3WeightGradientScratchBytes, Conv3x3WeightGradientRun};
  return kernels;
}

}  // namespace
}  // namespace mvf

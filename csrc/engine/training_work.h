// How the work of training kernels is divided; see Work.
#pragma once

#include "engine/work.h"
#include "kernels/training_kernels.h"

namespace mvf {

constexpr int64_t ChannelSumChunks(int64_t rows) { return (rows + kChannelSumRows - 1) / kChannelSumRows; }

inline Work WorkOf(const AttentionBackwardArgs& args) {
  return {args.patch_height * args.patch_width * args.heads, 1};
}
inline Work WorkOf(const WeightGradientArgs& args) { return {args.out, 8}; }
inline Work WorkOf(const ChannelMomentsArgs& args) { return {ChannelSumChunks(args.rows), 1}; }
inline Work WorkOf(const NormalizeArgs& args) { return {ChannelSumChunks(args.rows), 1}; }
inline Work WorkOf(const NormalizeBackwardArgs& args) { return WorkOf(args.forward); }

inline Work WorkOf(const LayerNormBackwardArgs& args) { return {ChannelSumChunks(args.rows), 1}; }
inline Work WorkOf(const Conv3x3WeightGradientArgs& args) { return {args.out, 8}; }
inline Work WorkOf(const NormLinearArgs& args) { return {ChannelSumChunks(args.rows), 1}; }
inline Work WorkOf(const NormLinearBackwardArgs& args) { return {args.shares, 1}; }
inline Work WorkOf(const NormDepthwiseArgs&) { return {kDepthwiseSegments, 1}; }
inline Work WorkOf(const NormDepthwiseBackwardArgs&) { return {kDepthwiseSegments, 1}; }

}  // namespace mvf

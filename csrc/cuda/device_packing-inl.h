// packing.h's PackMatrix and the depthwise part of an inverted residual, a thread to a place.
#pragma once

#include "cuda/packing.h"

namespace mvf::cuda {

template <class ElementOf>
struct PackMatrixKernel {
  using Element = ElementOf;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 4;

  struct Args {
    const Element* weight;  // [columns][depth]
    const Element* bias;    // or null
    Element* tiles;
    float* packed_bias;
    int64_t elements;  // in the tiles
    int columns;
    int depth;
    int depth_tiles;
  };

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t element = BlockIndex() * kThreads + ThreadIndex();
    if (element >= args.elements) return;
    const int padded_depth = args.depth_tiles * kTileDepth;
    const int n = static_cast<int>(element / padded_depth);
    const int k = static_cast<int>(element - static_cast<int64_t>(n) * padded_depth);
    const int64_t tile = static_cast<int64_t>(n / kTileColumns) * args.depth_tiles + k / kTileDepth;
    const int place = Matrix<Element>::PlaceInTile(n % kTileColumns, k % kTileDepth);
    const bool there = n < args.columns && k < args.depth;
    args.tiles[tile * kTileElements + place] =
        there ? args.weight[static_cast<int64_t>(n) * args.depth + k] : Narrow<Element>(0.0f);
    if (k == 0) args.packed_bias[n] = n < args.columns && args.bias ? Widen(args.bias[n]) : 0.0f;
  }
};

// Nine rows of taps, then the bias.
template <class ElementOf>
struct PackTapsKernel {
  using Element = ElementOf;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 4;

  struct Args {
    const Element* weight;  // [9][expanded]
    const Element* bias;    // or null
    float* taps;            // [10][channels]
    int64_t elements;
    int expanded;
    int channels;  // padded
  };

  static MVF_DEVICE void Run(const Args& args) {
    const int64_t element = BlockIndex() * kThreads + ThreadIndex();
    if (element >= args.elements) return;
    const int row = static_cast<int>(element / args.channels);
    const int c = static_cast<int>(element - static_cast<int64_t>(row) * args.channels);
    const Element* from = row < 9 ? args.weight + static_cast<int64_t>(row) * args.expanded : args.bias;
    args.taps[element] = c < args.expanded && from ? Widen(from[c]) : 0.0f;
  }
};

}  // namespace mvf::cuda

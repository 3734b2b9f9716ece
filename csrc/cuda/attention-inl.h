// Multi-head self-attention among the pixels of equal position in their patch, straight from the map of q, k
// and v: tokens are walked by strides, scores stay in registers. A warp takes 16 queries, and keys come 64 at
// a time, the softmax's maximum and sum kept up to date: Dao et al., "FlashAttention".
#pragma once

#include "cuda/attention_place-inl.h"
#include "cuda/matrix.h"

namespace mvf::cuda {

// kHeadDim: the head's width, padded.
template <class ElementOf, int kHeadDim>
struct AttentionKernel {
  using Element = ElementOf;
  using Product = Matrix<Element>;
  static constexpr int kMaxWarps = 4;
  static constexpr int kThreads = kMaxWarps * kWarp;
  static constexpr int kBlocksPerMultiprocessor = sizeof(Element) == 2 ? 3 : 1;
  static constexpr int kQueries = 16;  // of a warp
  static constexpr int kKeys = 64;
  static constexpr int kPitch = kHeadDim + kUnit<Element>;
  static constexpr int kScoreTiles = kKeys / kTileColumns;
  static constexpr int kValueTiles = kHeadDim / kTileColumns;

  struct Args {
    const Element* qkv;  // [images][height][width][3 * heads * head_dim]
    Element* output;     // [images][height][width][heads * head_dim]
    int64_t pixels;      // of an image
    int width;
    int heads, head_dim;
    int patch_height, patch_width;
    int tokens, tokens_across;
    int query_blocks;
    int unit;  // bytes that heads and addresses allow to be copied at once: 16, 8, 4, or 0 for single
               // elements
  };

  static size_t SharedBytes(int warps) {
    return static_cast<size_t>(warps * kQueries + 2 * kKeys) * kPitch * sizeof(Element);
  }

  static MVF_DEVICE void Run(const Args& args) { AttentionKernel(args).RunBlock(); }

 private:
  MVF_DEVICE explicit AttentionKernel(const Args& args) : args_(args), place_(args, kQueries) {
    queries_ = reinterpret_cast<Element*>(SharedMemory());
    keys_ = queries_ + BlockThreads() / kWarp * kQueries * kPitch;
    values_ = keys_ + kKeys * kPitch;
  }

  MVF_DEVICE void RunBlock() {
    LoadTokens(queries_, 0, place_.first_query, BlockThreads() / kWarp * kQueries);
    Sums outputs[kValueTiles];
    MVF_UNROLL
    for (int j = 0; j < kValueTiles; ++j) outputs[j].Clear();
    float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};
    MVF_NO_UNROLL
    for (int first_key = 0; first_key < args_.tokens; first_key += kKeys) {
      SyncBlock();  // everyone is done with the keys before
      LoadTokens(keys_, 1, first_key, kKeys);
      LoadTokens(values_, 2, first_key, kKeys);
      CommitCopies();
      WaitCopies<0>();
      SyncBlock();
      Sums scores[kScoreTiles];
      const int keys = args_.tokens - first_key;  // the rest of the tile is zeros
      Score(keys, scores);
      Weigh(keys, scores, largest, total, outputs);
      AddValues(keys, scores, outputs);
    }
    Store(outputs, total);
  }

  // q, k or v (part 0, 1, 2) of tokens in a row, with zeros behind the head's and the tokens' end.
  MVF_DEVICE void LoadTokens(Element* to, int part, int first, int count) const {
    if (args_.unit == 16) {
      CopyTokens<16>(to, part, first, count);
    } else if (args_.unit == 8) {
      CopyTokens<8>(to, part, first, count);
    } else if (args_.unit == 4) {
      CopyTokens<4>(to, part, first, count);
    } else {
      for (int item = ThreadIndex(); item < count * kHeadDim; item += BlockThreads()) {
        const int row = item / kHeadDim, c = item % kHeadDim;
        const bool there = first + row < args_.tokens && c < args_.head_dim;
        to[row * kPitch + c] = there ? *place_.Source(args_, part, first + row, c) : Element{};
      }
    }
  }

  template <int kBytes>
  MVF_DEVICE void CopyTokens(Element* to, int part, int first, int count) const {
    constexpr int kWide = kBytes / static_cast<int>(sizeof(Element)), kUnits = kHeadDim / kWide;
    for (int item = ThreadIndex(); item < count * kUnits; item += BlockThreads()) {
      const int row = item / kUnits, c = item % kUnits * kWide;
      const bool there = first + row < args_.tokens && c < args_.head_dim;
      CopyAsync<kBytes>(to + row * kPitch + c, there ? place_.Source(args_, part, first + row, c) : args_.qkv,
                        there);
    }
  }

  MVF_DEVICE void Score(int keys, Sums (&scores)[kScoreTiles]) const {
    MVF_UNROLL
    for (int j = 0; j < kScoreTiles; ++j) scores[j].Clear();
    const Element* queries = queries_ + WarpIndex() * kQueries * kPitch;
    MVF_UNROLL
    for (int k = 0; k < kHeadDim; k += Product::kDepth) {
      typename Product::A rows;
      Product::LoadRows(rows, queries + k, kPitch);
      MVF_UNROLL
      for (int j = 0; j < kScoreTiles; ++j) {
        if (j * kTileColumns >= keys) break;
        typename Product::B columns;
        Product::LoadByColumn(columns, keys_ + j * kTileColumns * kPitch + k, kPitch);
        Product::Multiply(scores[j], rows, columns);
      }
    }
  }

  // Scores become weights relative to the largest score so far, to which what was summed before is brought.
  MVF_DEVICE void Weigh(int keys, Sums (&scores)[kScoreTiles], float (&largest)[2], float (&total)[2],
                        Sums (&outputs)[kValueTiles]) const {
    const float scale = kLog2E * ReciprocalRoot(static_cast<float>(args_.head_dim));
    MVF_UNROLL
    for (int i = 0; i < 2; ++i) {  // this lane's two rows
      float maximum = largest[i];
      MVF_UNROLL
      for (int j = 0; j < kScoreTiles; ++j) {
        MVF_UNROLL
        for (int side = 0; side < 2; ++side) {
          float& score = scores[j].value[2 * i + side];
          const bool there = j * kTileColumns + SumsColumn() + side < keys;
          score = there ? score * scale : -INFINITY;
          maximum = score > maximum ? score : maximum;
        }
      }
      maximum = QuadMaximum(maximum);
      const float shrink = Exp2(largest[i] - maximum);
      largest[i] = maximum;
      float sum = 0.0f;
      MVF_UNROLL
      for (int j = 0; j < kScoreTiles; ++j) {
        MVF_UNROLL
        for (int side = 0; side < 2; ++side) {
          float& weight = scores[j].value[2 * i + side];
          weight = Exp2(weight - maximum);
          sum += weight;
        }
      }
      total[i] = total[i] * shrink + sum;  // of this lane's columns
      MVF_UNROLL
      for (int j = 0; j < kValueTiles; ++j) {
        outputs[j].value[2 * i] *= shrink;
        outputs[j].value[2 * i + 1] *= shrink;
      }
    }
  }

  // The four lanes of a row.
  static MVF_DEVICE float QuadMaximum(float value) {
    MVF_UNROLL
    for (int mask = 1; mask < 4; mask *= 2) {
      const float other = ShuffleXor(value, mask);
      value = other > value ? other : value;
    }
    return value;
  }
  static MVF_DEVICE float QuadSum(float value) {
    value += ShuffleXor(value, 1);
    return value + ShuffleXor(value, 2);
  }

  MVF_DEVICE void AddValues(int keys, const Sums (&weights)[kScoreTiles],
                            Sums (&outputs)[kValueTiles]) const {
    MVF_UNROLL
    for (int k = 0; k < kKeys; k += Product::kDepth) {
      if (k >= keys) break;
      typename Product::A rows;
      Product::FromSums(rows, weights + k / kTileColumns);
      MVF_UNROLL
      for (int j = 0; j < kValueTiles; ++j) {
        typename Product::B columns;
        Product::LoadByDepth(columns, values_ + k * kPitch + j * kTileColumns, kPitch);
        Product::Multiply(outputs[j], rows, columns);
      }
    }
  }

  MVF_DEVICE void Store(const Sums (&outputs)[kValueTiles], const float (&total)[2]) const {
    MVF_UNROLL
    for (int i = 0; i < 2; ++i) {
      const float share = 1.0f / QuadSum(total[i]);
      const int token = place_.first_query + WarpIndex() * kQueries + SumsRow() + 8 * i;
      if (token >= args_.tokens) continue;
      Element* to = place_.Target(args_, token);
      MVF_UNROLL
      for (int j = 0; j < kValueTiles; ++j) {
        const int c = j * kTileColumns + SumsColumn();
        const float first = outputs[j].value[2 * i] * share, second = outputs[j].value[2 * i + 1] * share;
        if (c >= args_.head_dim) break;
        if (args_.head_dim % 2 == 0) {
          StorePair(to + c, first, second);
        } else {
          to[c] = Narrow<Element>(first);
          if (c + 1 < args_.head_dim) to[c + 1] = Narrow<Element>(second);
        }
      }
    }
  }

  const Args& args_;
  const AttentionPlace<Args> place_;
  Element* queries_;
  Element* keys_;
  Element* values_;
};

}  // namespace mvf::cuda

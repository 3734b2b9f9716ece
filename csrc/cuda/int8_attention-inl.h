// 8-bit attention straight from the map of q, k and v, along the lines of attention-inl.h. Weights of 8 bits
// cannot be brought to another maximum afterwards, so the keys come twice: for the largest score of each
// query, then for weights and values.
//
// Keys come 64 at a time, in runs (ColumnOrder): the weights that a lane has are rows to multiply as they
// are.
#pragma once

#include "cuda/attention_place-inl.h"
#include "cuda/int8_matrix.h"
#include "kernels/int8_exp2-inl.h"

namespace mvf::cuda {

// kHeadDim: the head's width, padded.
template <int kHeadDim>
struct Int8AttentionKernel {
  using Product = Matrix<uint8_t>;
  using Total = Product::Total;
  static constexpr int kMaxWarps = 4;
  static constexpr int kThreads = kMaxWarps * kWarp;
  static constexpr int kBlocksPerMultiprocessor = 3;
  static constexpr int kQueries = 16;  // of a warp
  static constexpr int kKeys = 64;
  static constexpr int kPitch = kHeadDim + kUnit<uint8_t>;
  static constexpr int kValuePitch = kKeys + kUnit<uint8_t>;
  static constexpr int kScoreTiles = kKeys / kTileColumns;
  static constexpr int kValueTiles = kHeadDim / kTileColumns;

  struct Args {
    const uint8_t* qkv;  // [images][height][width][3 * heads * head_dim]
    uint8_t* output;     // [images][height][width][heads * head_dim]
    int64_t pixels;      // of an image
    int width;
    int heads, head_dim;
    int patch_height, patch_width;
    int tokens, tokens_across;
    int query_blocks;
    int unit;           // of heads: see CopyBytes16
    bool output_pairs;  // two neighbours of the output can be stored at once
    float distance_scale;
    float output_multiplier;
    float output_zero;
  };

  static size_t SharedBytes(int warps) {
    return static_cast<size_t>(warps * kQueries + kKeys) * kPitch + kHeadDim * kValuePitch;
  }

  static MVF_DEVICE void Run(const Args& args) { Int8AttentionKernel(args).RunBlock(); }

 private:
  MVF_DEVICE explicit Int8AttentionKernel(const Args& args) : args_(args), place_(args, kQueries) {
    queries_ = reinterpret_cast<uint8_t*>(SharedMemory());
    keys_ = queries_ + BlockThreads() / kWarp * kQueries * kPitch;
    values_ = keys_ + kKeys * kPitch;
  }

  MVF_DEVICE void RunBlock() {
    LoadQueries();
    Total scores[kScoreTiles];
    int32_t largest[2] = {INT32_MIN, INT32_MIN}, total[2] = {0, 0};
    MVF_NO_UNROLL
    for (int first_key = 0; first_key < args_.tokens; first_key += kKeys) {
      ScoreKeys(first_key, scores);
      FindLargest(args_.tokens - first_key, scores, largest);
    }
    MVF_UNROLL
    for (int i = 0; i < 2; ++i) largest[i] = QuadMaximum(largest[i]);
    Total outputs[kValueTiles];
    MVF_UNROLL
    for (int j = 0; j < kValueTiles; ++j) outputs[j].Clear();
    MVF_NO_UNROLL
    for (int first_key = 0; first_key < args_.tokens; first_key += kKeys) {
      // Of few tokens the scores, and the keys' place, are still there.
      if (args_.tokens > kKeys) ScoreKeys(first_key, scores);
      LoadValues(first_key);
      SyncBlock();
      AddValues(args_.tokens - first_key, scores, largest, total, outputs);
    }
    Store(outputs, total);
  }

  // Four bytes around 128 as signed ones, zeros where there is nothing.
  MVF_DEVICE uint32_t LoadSigned(int part, int token, int channel) const {
    const int count = token < args_.tokens ? args_.head_dim - channel : 0;
    if (count <= 0) return 0;
    const uint8_t* from = place_.Source(args_, part, token, channel);
    if (args_.unit >= 4) return LoadWord(from) ^ 0x80808080u;
    uint32_t word = 0;
    MVF_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (i < count) word |= (from[i] ^ 0x80u) << (8 * i);
    }
    return word;
  }

  MVF_DEVICE void LoadQueries() const {
    constexpr int kWords = kHeadDim / 4;
    const int rows = BlockThreads() / kWarp * kQueries;
    for (int item = ThreadIndex(); item < rows * kWords; item += BlockThreads()) {
      const int row = item / kWords, channel = item % kWords * 4;
      StoreWord(queries_ + row * kPitch + channel, LoadSigned(0, place_.first_query + row, channel));
    }
  }

  MVF_DEVICE void LoadKeys(int first) const {
    constexpr int kUnits = kHeadDim / 16;
    for (int item = ThreadIndex(); item < kKeys * kUnits; item += BlockThreads()) {
      const int key = item / kUnits, channel = item % kUnits * 16;
      const bool there = first + key < args_.tokens && channel < args_.head_dim;
      CopyBytes16(keys_ + static_cast<int>(PlaceInRuns(key)) * kPitch + channel,
                  there ? place_.Source(args_, 1, first + key, channel) : args_.qkv,
                  there ? args_.head_dim - channel : 0, args_.unit, args_.qkv);
    }
  }

  // values_[channel][key], four keys and channels at a time. Of 32 keys the first and the last four of each
  // eight lie apart, as rows to multiply have them.
  MVF_DEVICE void LoadValues(int first) const {
    constexpr int kKeyQuads = kKeys / 4, kQuads = kKeyQuads * (kHeadDim / 4);
    for (int item = ThreadIndex(); item < kQuads; item += BlockThreads()) {
      const int key = item % kKeyQuads * 4, channel = item / kKeyQuads * 4;
      uint32_t words[4];
      MVF_UNROLL
      for (int i = 0; i < 4; ++i) words[i] = LoadSigned(2, first + key + i, channel);
      TransposeBytes(words);
      const int slot = key / kRunColumns * kRunColumns + key % kRun / 4 * 16 + key % kRunColumns / kRun * 4;
      uint8_t* to = values_ + channel * kValuePitch + slot;
      MVF_UNROLL
      for (int c = 0; c < 4; ++c) StoreWord(to + c * kValuePitch, words[c]);
    }
  }

  // Scores lack what the keys' zero point adds to them: it is the same for all keys of a query.
  MVF_DEVICE void ScoreKeys(int first, Total (&scores)[kScoreTiles]) const {
    SyncBlock();  // everyone is done with the keys before
    LoadKeys(first);
    CommitCopies();
    WaitCopies<0>();
    SyncBlock();
    const uint8_t* queries = queries_ + WarpIndex() * kQueries * kPitch;
    MVF_UNROLL
    for (int j = 0; j < kScoreTiles; ++j) scores[j].Clear();
    MVF_UNROLL
    for (int k = 0; k < kHeadDim; k += Product::kDepth) {
      Product::A rows;
      Product::LoadRows(rows, queries + k, kPitch);
      MVF_UNROLL
      for (int j = 0; j < kScoreTiles; ++j) {
        Product::B columns;
        Product::LoadByColumn(columns, keys_ + j * kTileColumns * kPitch + k, kPitch);
        Product::MultiplySigned(scores[j], rows, columns);
      }
    }
  }

  static MVF_DEVICE void FindLargest(int keys, const Total (&scores)[kScoreTiles], int32_t (&largest)[2]) {
    MVF_UNROLL
    for (int j = 0; j < kScoreTiles; ++j) {
      MVF_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int32_t score = scores[j].value[i];
        if (RunColumnOf(j) + i % 2 < keys && score > largest[i / 2]) largest[i / 2] = score;
      }
    }
  }

  // The four lanes of a row.
  static MVF_DEVICE int32_t QuadMaximum(int32_t value) {
    MVF_UNROLL
    for (int mask = 1; mask < 4; mask *= 2) {
      const int32_t other = ShuffleXor(value, mask);
      value = other > value ? other : value;
    }
    return value;
  }
  static MVF_DEVICE int32_t QuadSum(int32_t value) {
    value += ShuffleXor(value, 1);
    return value + ShuffleXor(value, 2);
  }

  MVF_DEVICE uint32_t WeightOf(int32_t score, int32_t largest) const {
    const float steps = Multiply(ToReal(largest - score), args_.distance_scale);
    constexpr auto kLimit = static_cast<float>(kDistanceLimit);
    return Int8Exp2(steps < kLimit ? static_cast<uint32_t>(RoundToInt(steps)) : kDistanceLimit);
  }

  // Of a row, the weights of four neighbouring keys from tile j on.
  MVF_DEVICE uint32_t WeighFour(int keys, const Total (&scores)[kScoreTiles], int j, int i, int32_t largest,
                                int32_t& total) const {
    uint32_t word = 0;
    MVF_UNROLL
    for (int n = 0; n < 4; ++n) {
      const int tile = j + n / 2;
      const bool there = RunColumnOf(tile) + n % 2 < keys;
      const uint32_t weight = there ? WeightOf(scores[tile].value[2 * i + n % 2], largest) : 0;
      total += static_cast<int32_t>(weight);
      word |= weight << (8 * n);
    }
    return word;
  }

  MVF_DEVICE void AddValues(int keys, const Total (&scores)[kScoreTiles], const int32_t (&largest)[2],
                            int32_t (&total)[2], Total (&outputs)[kValueTiles]) const {
    MVF_UNROLL
    for (int k = 0; k < kKeys; k += Product::kDepth) {
      if (k >= keys) break;
      Product::A weights;
      MVF_UNROLL
      for (int part = 0; part < 4; ++part) {
        const int i = part % 2;
        weights.quads[part] =
            WeighFour(keys, scores, k / kTileColumns + part / 2 * 2, i, largest[i], total[i]);
      }
      MVF_UNROLL
      for (int j = 0; j < kValueTiles; ++j) {
        if (j * kTileColumns >= args_.head_dim) break;
        Product::B columns;
        Product::LoadByColumn(columns, values_ + j * kTileColumns * kValuePitch + k, kValuePitch);
        Product::Multiply(outputs[j], weights, columns);
      }
    }
  }

  MVF_DEVICE void Store(const Total (&outputs)[kValueTiles], const int32_t (&total)[2]) const {
    MVF_UNROLL
    for (int i = 0; i < 2; ++i) {
      const float multiplier = Divide(args_.output_multiplier, ToReal(QuadSum(total[i])));
      const int token = place_.first_query + WarpIndex() * kQueries + SumsRow() + 8 * i;
      if (token >= args_.tokens) continue;
      uint8_t* to = place_.Target(args_, token);
      MVF_UNROLL
      for (int j = 0; j < kValueTiles; ++j) {
        const int c = j * kTileColumns + SumsColumn();
        if (c >= args_.head_dim) break;
        const uint32_t first = OutputOf(outputs[j].value[2 * i], multiplier);
        const uint32_t second = OutputOf(outputs[j].value[2 * i + 1], multiplier);
        if (args_.output_pairs) {
          StoreShort(to + c, first | second << 8);
        } else {
          to[c] = static_cast<uint8_t>(first);
          if (c + 1 < args_.head_dim) to[c + 1] = static_cast<uint8_t>(second);
        }
      }
    }
  }

  MVF_DEVICE uint32_t OutputOf(int32_t sum, float multiplier) const {
    return RoundToByte(FusedMultiplyAdd(ToReal(sum), multiplier, args_.output_zero));
  }

  const Args& args_;
  const AttentionPlace<Args> place_;
  uint8_t* queries_;
  uint8_t* keys_;
  uint8_t* values_;
};

}  // namespace mvf::cuda

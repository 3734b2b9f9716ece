// The arithmetic of attention for one head and one block of queries, which lie in lanes: scores and outputs
// are transposed, so that softmax runs down the keys without a shuffle and no head dimension needs padding.
#pragma once

namespace mvf {
namespace {

// What softmax keeps of a block of queries.
template <int kVectors>
struct QueryStatistics {
  alignas(kAlignment) Vec::Lane largest[kVectors * Vec::kLanes];  // score
  alignas(kAlignment) float inverse_sum[kVectors * Vec::kLanes];  // of the exponentials
};

// What becomes of a tile of scores, keys down and queries across: it is stored, and each query's largest is
// kept.
template <int kWidth, class Scores = Vec, class Score = Vec::Lane>
struct ScoreEpilogue {
  Score* scores;  // [keys][kWidth]
  Score* largest;

  template <int kRows, int kVectors>
  MVF_INLINE void operator()(Scores (&sum)[kRows][kVectors], const void* /*header*/, int64_t key,
                             int64_t /*query*/, int /*last_lanes*/) const {
    constexpr int kLanes = Vec::kLanes;
    static_assert(kWidth == kLanes * kVectors, "one panel holds the block");
    Score* out = scores + key * kWidth;
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) {
      Scores maximum = Scores::Load(largest + kLanes * j);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) maximum = Max(maximum, sum[i][j]);
      maximum.Store(largest + kLanes * j);
    }
    // By themselves, so that two become one instruction where there is one.
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[i][j].Store(out + kWidth * i + kLanes * j);
    }
  }
};

// Each query's largest of scores [keys][kVectors * kLanes] that are stored.
template <class Scores, int kVectors, class Score>
MVF_INLINE void FindLargest(const Score* scores, int64_t keys, Score* largest) {
  Scores maximum[kVectors];
  for (int j = 0; j < kVectors; ++j) maximum[j] = Scores::Load(largest + j * Vec::kLanes);
  for (int64_t key = 0; key < keys; ++key) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j, scores += Vec::kLanes) {
      maximum[j] = Max(maximum[j], Scores::Load(scores));
    }
  }
  for (int j = 0; j < kVectors; ++j) maximum[j].Store(largest + j * Vec::kLanes);
}

// Units of keys by which the exponential runs ahead of the multiplications that need it: they would fill the
// scheduler while they wait.
constexpr int64_t kExponentialLead = 6;

// output[channel, query] = sum_key values[key, channel] * p[key, query] / sum_key p[key, query] for kRows
// channels. With kExponentiate, p = 2^(score - largest) replaces the scores in place; without, it is there
// already.
template <class Dot, int kRows, int kVectors, bool kExponentiate>
__attribute__((noinline)) void WeighTile(Vec::Lane* scores, const typename Dot::Unit* values, int64_t keys,
                                         QueryStatistics<kVectors>& statistics, Vec::Lane* output) {
  using Unit = typename Dot::Unit;
  constexpr int kLanes = Vec::kLanes;
  constexpr int kWidth = kVectors * kLanes;
  const int64_t units = CeilDiv(keys, Dot::kUnit);
  Unit* const weights = reinterpret_cast<Unit*>(scores);
  Vec sum[kRows][kVectors], total[kVectors], largest[kVectors];
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) sum[i][j] = Vec::Zero();
    total[j] = Vec::Zero();
    if constexpr (kExponentiate) largest[j] = Vec::Load(statistics.largest + kLanes * j);
  }
  const auto exponentiate = [&](int64_t unit) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) {
      Vec parts[Dot::kUnit];
#pragma GCC unroll 2
      for (int k = 0; k < Dot::kUnit; ++k) {
        const int64_t key = unit * Dot::kUnit + k;
        const bool is_key = k == 0 || key < keys;
        parts[k] = is_key ? Exp2OfNegative(Sub(Vec::Load(scores + key * kWidth + kLanes * j), largest[j]))
                          : Vec::Zero();
        total[j] = Add(total[j], parts[k]);
      }
      Dot::StoreUnits(parts, weights + unit * kWidth + kLanes * j);
    }
  };
  const auto multiply = [&](int64_t unit) {
    Vec weight[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) weight[j] = Dot::LoadPanel(weights + unit * kWidth + kLanes * j);
    if constexpr (RowUnits<Dot>::kUnits == kRows) {
      const Vec value = RowUnits<Dot>::Load(values + unit * kRows);
      ForEachLane<kRows>([&](auto lane) __attribute__((always_inline)) {
        constexpr int i = decltype(lane)::kValue;
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) {
          sum[i][j] = RowUnits<Dot>::template MulAddLane<i>(value, weight[j], sum[i][j]);
        }
      });
      return;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vec value = Dot::Broadcast(values + unit * kRows + i);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[i][j] = Dot::MulAdd(value, weight[j], sum[i][j]);
    }
  };
  int64_t unit = 0;
  if constexpr (kExponentiate) {
    for (int64_t ahead = 0; ahead < Min(kExponentialLead, units); ++ahead) exponentiate(ahead);
    for (; unit + kExponentialLead < units; ++unit) {
      exponentiate(unit + kExponentialLead);
      multiply(unit);
    }
  }
  for (; unit < units; ++unit) multiply(unit);
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
    if constexpr (kExponentiate) Div(Vec::Set(1.0f), total[j]).Store(statistics.inverse_sum + kLanes * j);
    const Vec scale = Vec::Load(statistics.inverse_sum + kLanes * j);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) Mul(sum[i][j], scale).Store(output + kLanes * (kVectors * i + j));
  }
}

// The same where sums are kept in runs: those of kRun keys are added to totals in floats, since a sum of many
// weights has no end in halves, and a weight no digits beside it.
template <class Dot, int kRows, int kVectors, bool kExponentiate>
__attribute__((noinline)) void WeighTileInRuns(Vec::Lane* scores, const typename Dot::Unit* values,
                                               int64_t keys, QueryStatistics<kVectors>& statistics,
                                               Vec::Lane* output) {
  static_assert(Dot::kUnit == 1 && kRows <= Vec::kLanes, "a vector holds a key's values");
  constexpr int kLanes = Vec::kLanes, kWidth = kVectors * kLanes, kParts = kLanes / Floats::kLanes;
  Floats totals[kRows][kVectors][kParts] = {}, all[kVectors][kParts] = {};
  Vec largest[kVectors];
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
    if constexpr (kExponentiate) largest[j] = Vec::Load(statistics.largest + kLanes * j);
  }
  for (int64_t first = 0; first < keys; first += kRun<Dot>) {
    const int64_t end = Min(first + kRun<Dot>, keys);
    if constexpr (kExponentiate) {
      Vec weights[kVectors];
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) weights[j] = Vec::Zero();
      for (int64_t key = first; key < end; ++key) {
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) {
          Vec::Lane* const score = scores + key * kWidth + kLanes * j;
          const Vec weight = Exp2OfNegative(Sub(Vec::Load(score), largest[j]));
          weight.Store(score);
          weights[j] = Add(weights[j], weight);
        }
      }
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
#pragma GCC unroll 2
        for (int p = 0; p < kParts; ++p) all[j][p] = Add(all[j][p], Part(weights[j], p));
      }
    }
    Vec sum[kRows][kVectors];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[i][j] = Vec::Zero();
    }
    for (int64_t key = first; key < end; ++key) {
      const Vec value = Dot::LoadPanel(values + key * kRows);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        const Vec weight = Vec::Load(scores + key * kWidth + kLanes * j);
        ForEachLane<kRows>([&](auto lane) __attribute__((always_inline)) {
          constexpr int kRow = decltype(lane)::kValue;
          sum[kRow][j] = RowUnits<Dot>::template MulAddLane<kRow>(value, weight, sum[kRow][j]);
        });
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
#pragma GCC unroll 2
        for (int p = 0; p < kParts; ++p) totals[i][j][p] = Add(totals[i][j][p], Part(sum[i][j], p));
      }
    }
  }
  for (int j = 0; j < kVectors; ++j) {
    for (int p = 0; p < kParts; ++p) {
      float* const inverse = statistics.inverse_sum + kLanes * j + Floats::kLanes * p;
      if constexpr (kExponentiate) Div(Floats::Set(1.0f), all[j][p]).Store(inverse);
      const Floats scale = Floats::Load(inverse);
      for (int i = 0; i < kRows; ++i) {
        Mul(totals[i][j][p], scale).Store(output + kLanes * (kVectors * i + j) + Floats::kLanes * p);
      }
    }
  }
}

// The scores of a block of queries, a panel, against all keys; and each query's largest.
template <class Dot, int kVectors>
void ScoreKeys(const typename Dot::Unit* keys, int64_t key_units, int64_t tokens,
               const typename Dot::Unit* queries, Vec::Lane* scores, QueryStatistics<kVectors>& statistics) {
  for (Vec::Lane& largest : statistics.largest) largest = ToLane(-__builtin_inff());
  const Operand<typename Dot::Unit> rows = {keys, key_units, 0, 1, key_units};
  PanelTiles<Dot, TileRows(kVectors), kVectors, false>(
      rows, 0, tokens, queries, ScoreEpilogue<kVectors * Vec::kLanes>{scores, statistics.largest}, 0,
      Vec::kLanes);
}

template <class Dot, int kVectors, bool kExponentiate, int kRows = kValueRows>
void WeighRows(int64_t rows, Vec::Lane* scores, const typename Dot::Unit* values, int64_t tokens,
               QueryStatistics<kVectors>& statistics, Vec::Lane* output) {
  if constexpr (kRows > 2) {
    if (rows < kRows) {
      return WeighRows<Dot, kVectors, kExponentiate, kRows - 2>(rows, scores, values, tokens, statistics,
                                                                output);
    }
  }
  if constexpr (kRun<Dot> == 0) {
    WeighTile<Dot, kRows, kVectors, kExponentiate>(scores, values, tokens, statistics, output);
  } else {
    WeighTileInRuns<Dot, kRows, kVectors, kExponentiate>(scores, values, tokens, statistics, output);
  }
}

// WeighTile for all channels; `values` are as GatherValueGroups makes them.
template <class Dot, int kVectors, bool kExponentiate>
void WeighChannels(int64_t head_dim, Vec::Lane* scores, const typename Dot::Unit* values, int64_t tokens,
                   QueryStatistics<kVectors>& statistics, Vec::Lane* outputs) {
  ForEachValueGroup(head_dim, [&](int64_t channel, int64_t rows) {
    const typename Dot::Unit* group = values + channel * Units<Dot>(tokens);
    Vec::Lane* output = outputs + channel * kVectors * Vec::kLanes;
    if (kExponentiate && channel == 0) {
      WeighRows<Dot, kVectors, kExponentiate>(rows, scores, group, tokens, statistics, output);
    } else {
      WeighRows<Dot, kVectors, false>(rows, scores, group, tokens, statistics, output);
    }
  });
}

}  // namespace
}  // namespace mvf

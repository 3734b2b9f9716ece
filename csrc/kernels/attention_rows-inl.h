// Attention where whole tiles are multiplied: queries are rows and keys columns, so that every operand but
// the panels of keys and values lies as it came, and every result as it goes.
#pragma once

namespace mvf {
namespace {

// Queries at once, whose scores stay in the second-level cache: as many as fit, since each turn from tiles to
// vectors and back costs hundreds of cycles.
inline int64_t QueryRows(int64_t tokens) {
  constexpr int64_t kScoreBytes = 256 * 1024, kLeast = 32;
  return Min(Max(kScoreBytes / (RoundUp(tokens, Vec::kLanes) * int64_t{sizeof(float)}), kLeast), tokens);
}

// Scratch memory in slots of a lane's size.
template <class Dot>
struct RowAttentionLayout {
  int64_t tokens, head_dim;
  int64_t key_units;     // of one query or key, along the head dimension
  int64_t token_units;   // of a query's weights, along the tokens
  int64_t score_stride;  // floats of a query's scores
  int64_t query_rows;    // at once
  int64_t qkv_offsets, output_offsets, queries, keys, values, scores, weights, inverse_sums, slots;

  explicit RowAttentionLayout(const AttentionArgs& args)
      : tokens((args.qkv.height / args.patch_height) * (args.qkv.width / args.patch_width)),
        head_dim(args.output.channels / args.heads),
        key_units(Units<Dot>(head_dim)),
        token_units(WholeSteps(Units<Dot>(tokens))),
        score_stride(RoundUp(tokens, Vec::kLanes)),
        query_rows(QueryRows(tokens)) {
    int64_t end = 0;
    const auto place = [&](int64_t size) {
      const int64_t start = end;
      end += RoundUp(size + Vec::kLanes, kAlignment / int64_t{sizeof(Vec::Lane)});
      return start;
    };
    constexpr int64_t kOffsetSlots = sizeof(int64_t) / sizeof(Vec::Lane);
    qkv_offsets = place(tokens * kOffsetSlots);
    output_offsets = place(tokens * kOffsetSlots);
    queries = place(tokens * key_units);
    keys = place(PanelSlots(tokens, key_units));
    values = place(PanelSlots(head_dim, token_units));
    scores = place(query_rows * score_stride);
    weights = place(query_rows * token_units);
    inverse_sums = place(query_rows);
    slots = end;
  }

  // Tokens are filled up with zeros, so that any number of them is multiplied in long steps.
  static int64_t WholeSteps(int64_t units) { return RoundUp(units, Min(units, TileRegisters<Dot>::kUnits)); }
};

// What becomes of weighed values: divided by the sum of their weights, they go to their tokens.
template <class Element>
struct WeighedEpilogue {
  Element* data;  // the head's first channel; token t's begin at data + offsets[t]
  const int64_t* offsets;
  const float* inverse_sums;

  template <int kRows, int kVectors>
  MVF_INLINE void operator()(Vec (&sum)[kRows][kVectors], const void* /*header*/, int64_t row, int64_t column,
                             int last_lanes) const {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vec scale = Vec::Set(inverse_sums[row + i]);
      Element* const out = data + offsets[row + i] + column;
#pragma GCC unroll 3
      for (int j = 0; j < kVectors; ++j) {
        const Vec value = Mul(sum[i][j], scale);
        if (j < kVectors - 1 || last_lanes == Vec::kLanes) {
          value.Store(out + j * Vec::kLanes);
        } else {
          value.StorePartial(out + j * Vec::kLanes, last_lanes);
        }
      }
    }
  }
};

// One unit of work: a head's tokens at one position of the patch.
template <class Dot>
class RowAttentionHead {
 public:
  using Element = typename Dot::Element;
  using Unit = typename Dot::Unit;

  RowAttentionHead(const AttentionArgs& args, const RowAttentionLayout<Dot>& layout, Vec::Lane* scratch,
                   int64_t unit)
      : args_(args), layout_(layout), scratch_(scratch), unit_(unit) {}

  void Run() const {
    GatherRows(Qkv(0), At<Element>(layout_.queries), layout_.key_units * Dot::kUnit);
    GatherKeys();
    GatherValues();
    const int64_t* const offsets = At<int64_t>(layout_.output_offsets);
    const Tokens<Element> output = TokensOf<Element>(args_, args_.output, unit_, 0, offsets);
    for (int64_t first = 0; first < layout_.tokens; first += layout_.query_rows) {
      const int64_t count = Min(layout_.query_rows, layout_.tokens - first);
      float* const scores = At<float>(layout_.scores);
      const Operand<Unit> queries = {At<Unit>(layout_.queries) + first * layout_.key_units, layout_.key_units,
                                     0, 1, layout_.key_units};
      Gemm<Dot>(queries, 0, count, layout_.tokens, scratch_ + layout_.keys,
                SumsInPlace<float>{scores, layout_.score_stride});
      int64_t i = 0;
      for (; i + kRowsAtOnce <= count; i += kRowsAtOnce) Exponentiate<kRowsAtOnce>(i);
      for (; i < count; ++i) Exponentiate<1>(i);
      const Operand<Unit> weights = {At<Unit>(layout_.weights), layout_.token_units, 0, 1,
                                     layout_.token_units};
      Gemm<Dot>(weights, 0, count, layout_.head_dim, scratch_ + layout_.values,
                WeighedEpilogue<Element>{output.data, offsets + first, At<float>(layout_.inverse_sums)});
    }
  }

 private:
  template <class T>
  T* At(int64_t slot) const {
    return reinterpret_cast<T*>(scratch_ + slot);
  }
  // Queries, keys or values (0, 1, 2).
  Tokens<const Element> Qkv(int64_t part) const {
    return TokensOf<const Element>(args_, args_.qkv, unit_, part, At<int64_t>(layout_.qkv_offsets));
  }

  void GatherKeys() const {
    ForEachPanel(layout_.tokens, layout_.key_units, [&](int vectors, int64_t first, int64_t slot) {
      Unit* const panel = At<Unit>(layout_.keys) + slot;
      const Vec one = Vec::Set(1.0f);
      if (vectors == 3) return GatherPanel<Dot, 3>(Qkv(1), first, one, panel);
      if (vectors == 2) return GatherPanel<Dot, 2>(Qkv(1), first, one, panel);
      GatherPanel<Dot, 1>(Qkv(1), first, one, panel);
    });
  }

  void GatherValues() const {
    const Tokens<const Element> from = Qkv(2);
    ForEachPanel(layout_.head_dim, layout_.token_units, [&](int vectors, int64_t first, int64_t slot) {
      const int64_t width = vectors * Vec::kLanes;
      Unit* to = At<Unit>(layout_.values) + slot;
      ZeroElements(to, kHeaderRows<Dot> * width);
      to += kHeaderRows<Dot> * width;
      for (int64_t unit = 0; unit < layout_.token_units; ++unit, to += width) {
        ForEachVector(first, Min(first + width, layout_.head_dim), [&](int64_t c, auto lanes) {
          Vec parts[Dot::kUnit];
          for (int k = 0; k < Dot::kUnit; ++k) {
            const int64_t token = unit * Dot::kUnit + k;
            parts[k] = token < from.count ? lanes.Load(from.data + from.offsets[token] + c) : Vec::Zero();
          }
          Dot::StoreUnits(parts, to + c - first);
        });
      }
    });
  }

  // Rows whose reductions hide each other.
  static constexpr int kRowsAtOnce = 4;

  // weights[i, key] = 2^(scale * (scores[i, key] - largest_i)), and the inverse of their sum, for rows from
  // `first` on.
  template <int kRows>
  __attribute__((noinline)) void Exponentiate(int64_t first) const {
    const int64_t tokens = layout_.tokens, pitch = layout_.score_stride;
    const int64_t weight_pitch = layout_.token_units * Dot::kUnit;
    const float* const scores = At<float>(layout_.scores) + first * pitch;
    Element* const weights = At<Element>(layout_.weights) + first * weight_pitch;
    const float lowest = -__builtin_inff();
    const Vec scale = ScoreScale(layout_.head_dim);
    Vec largest[kRows], sum[kRows];
    for (int i = 0; i < kRows; ++i) largest[i] = Vec::Set(lowest);
    ForEachVector(0, tokens, [&](int64_t key, auto lanes) {
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        largest[i] = Max(lanes.Fill(lanes.Load(scores + i * pitch + key), lowest), largest[i]);
      }
    });
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      largest[i] = Vec::Set(ReduceMax(largest[i]));
      sum[i] = Vec::Zero();
    }
    ForEachVector(0, tokens, [&](int64_t key, auto lanes) {
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        const Vec score = lanes.Load(scores + i * pitch + key);
        const Vec weight = Exp2OfNegative(Mul(Sub(score, largest[i]), scale));
        lanes.Store(weight, weights + i * weight_pitch + key);
        sum[i] = Add(sum[i], lanes.Fill(weight, 0.0f));
      }
    });
    for (int i = 0; i < kRows; ++i) {
      ZeroElements(weights + i * weight_pitch + tokens, weight_pitch - tokens);
      At<float>(layout_.inverse_sums)[first + i] = 1.0f / ReduceAdd(sum[i]);
    }
  }

  const AttentionArgs& args_;
  const RowAttentionLayout<Dot>& layout_;
  Vec::Lane* const scratch_;
  const int64_t unit_;
};

template <class Dot>
size_t RowAttentionScratchBytes(const AttentionArgs& args) {
  return static_cast<size_t>(RowAttentionLayout<Dot>(args).slots) * sizeof(Vec::Lane);
}

template <class Dot>
void RowAttentionRun(const AttentionArgs& args, Range units, void* scratch) {
  const RowAttentionLayout<Dot> layout(args);
  Vec::Lane* const slots = static_cast<Vec::Lane*>(scratch);
  FindTokensOf(args, layout, slots);
  for (int64_t unit = units.begin; unit < units.end; ++unit) {
    RowAttentionHead<Dot>(args, layout, slots, unit).Run();
  }
}

}  // namespace
}  // namespace mvf

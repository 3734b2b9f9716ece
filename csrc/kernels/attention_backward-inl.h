// The backward pass of attention, in float32. Scores are computed again, block by block of queries, and never
// exist as a whole. Dao et al., "FlashAttention", algorithm 4.
#pragma once

namespace mvf {
namespace {

// Scratch memory in floats. Vectors are stored whole, so every part has one to spare at its end.
struct AttentionBackwardLayout {
  int64_t tokens, head_dim;
  int64_t pitch;  // of rows that are added to: whole vectors
  int64_t qkv_offsets, upstream_offsets, gradient_offsets;
  int64_t keys, values, key_groups, key_gradients, value_gradients;
  int64_t query_panel, upstream_panel, query_rows, upstream_rows, weights, score_gradients, outputs, slots;

  explicit AttentionBackwardLayout(const AttentionBackwardArgs& args)
      : tokens((args.qkv.height / args.patch_height) * (args.qkv.width / args.patch_width)),
        head_dim(args.upstream.channels / args.heads),
        pitch(RoundUp(head_dim, Vec::kLanes)) {
    constexpr int64_t kWidth = kQueryVectors * Vec::kLanes;
    int64_t end = 0;
    const auto place = [&](int64_t size) {
      const int64_t start = end;
      end += RoundUp(size + Vec::kLanes, kAlignment / sizeof(float));
      return start;
    };
    for (int64_t* offsets : {&qkv_offsets, &upstream_offsets, &gradient_offsets}) {
      *offsets = place(tokens * static_cast<int64_t>(sizeof(int64_t) / sizeof(float)));
    }
    for (int64_t* rows : {&keys, &values}) *rows = place(tokens * head_dim);
    key_groups = place(tokens * RoundUp(head_dim, 2));
    for (int64_t* rows : {&key_gradients, &value_gradients}) *rows = place(tokens * pitch);
    for (int64_t* panel : {&query_panel, &upstream_panel}) *panel = place((1 + head_dim) * kWidth);
    for (int64_t* rows : {&query_rows, &upstream_rows}) *rows = place(PanelSlots(head_dim, kWidth));
    for (int64_t* block : {&weights, &score_gradients}) *block = place(tokens * kWidth);
    outputs = place(pitch * kWidth);
    slots = end;
  }
};

// One unit of work: a head's tokens at one position of the patch.
class AttentionBackwardHead {
 public:
  AttentionBackwardHead(const AttentionBackwardArgs& args, const AttentionBackwardLayout& layout,
                        float* scratch, int64_t unit)
      : layout_(layout),
        scratch_(scratch),
        queries_(Part<const float>(args, args.qkv, unit, 0, layout.qkv_offsets)),
        keys_(Part<const float>(args, args.qkv, unit, 1, layout.qkv_offsets)),
        values_(Part<const float>(args, args.qkv, unit, 2, layout.qkv_offsets)),
        upstream_(Part<const float>(args, args.upstream, unit, 0, layout.upstream_offsets)),
        query_gradients_(Part<float>(args, args.gradient, unit, 0, layout.gradient_offsets)),
        key_gradients_(Part<float>(args, args.gradient, unit, 1, layout.gradient_offsets)),
        value_gradients_(Part<float>(args, args.gradient, unit, 2, layout.gradient_offsets)) {}

  void Run() const {
    GatherRows(keys_, scratch_ + layout_.keys, layout_.head_dim);
    GatherRows(values_, scratch_ + layout_.values, layout_.head_dim);
    GatherValueGroups<DotF32>(keys_, scratch_ + layout_.key_groups);
    ZeroElements(scratch_ + layout_.key_gradients, layout_.tokens * layout_.pitch);
    ZeroElements(scratch_ + layout_.value_gradients, layout_.tokens * layout_.pitch);
    int64_t token = 0;
    for (; token + Vec::kLanes < layout_.tokens; token += kQueryVectors * Vec::kLanes) {
      Block<kQueryVectors>(token);
    }
    if (token < layout_.tokens) Block<1>(token);
    ScatterRows(scratch_ + layout_.key_gradients, layout_.pitch, key_gradients_);
    ScatterRows(scratch_ + layout_.value_gradients, layout_.pitch, value_gradients_);
  }

 private:
  template <class Element>
  Tokens<Element> Part(const AttentionBackwardArgs& args, const Map& map, int64_t unit, int64_t part,
                       int64_t offsets) const {
    return TokensOf<Element>(args, map, unit, part, reinterpret_cast<const int64_t*>(scratch_ + offsets));
  }

  template <int kVectors>
  void Block(int64_t token) const {
    constexpr int64_t kWidth = kVectors * Vec::kLanes;
    const int64_t tokens = layout_.tokens, head_dim = layout_.head_dim;
    float* const weights = scratch_ + layout_.weights;
    float* const score_gradients = scratch_ + layout_.score_gradients;
    QueryStatistics<kVectors> statistics, unused;

    GatherPanel<DotF32, kVectors>(queries_, token, ScoreScale(head_dim), scratch_ + layout_.query_panel);
    ScoreKeys<DotF32>(scratch_ + layout_.keys, head_dim, tokens, scratch_ + layout_.query_panel, weights,
                      statistics);
    GatherPanel<DotF32, kVectors>(upstream_, token, Vec::Set(1.0f), scratch_ + layout_.upstream_panel);
    ScoreKeys<DotF32>(scratch_ + layout_.values, head_dim, tokens, scratch_ + layout_.upstream_panel,
                      score_gradients, unused);
    DifferentiateSoftmax<kVectors>(statistics, weights, score_gradients);

    Accumulate<kWidth>(weights, upstream_, token, scratch_ + layout_.upstream_rows,
                       scratch_ + layout_.value_gradients);
    Accumulate<kWidth>(score_gradients, queries_, token, scratch_ + layout_.query_rows,
                       scratch_ + layout_.key_gradients);
    for (float& scale : statistics.inverse_sum) scale = 1.0f;
    WeighChannels<DotF32, kVectors, false>(head_dim, score_gradients, scratch_ + layout_.key_groups, tokens,
                                           statistics, scratch_ + layout_.outputs);
    ScatterColumns<kVectors>(scratch_ + layout_.outputs, query_gradients_, token);
  }

  // Scores become softmax's weights w, and their gradients g become w * (g - sum of w * g) / sqrt(head_dim).
  template <int kVectors>
  void DifferentiateSoftmax(const QueryStatistics<kVectors>& statistics, float* weights,
                            float* gradients) const {
    constexpr int kWidth = kVectors * Vec::kLanes;
    const Vec scale = Vec::Set(1.0f / __builtin_sqrtf(static_cast<float>(layout_.head_dim)));
    for (int j = 0; j < kVectors; ++j) {
      const Vec largest = Vec::Load(statistics.largest + Vec::kLanes * j);
      float* const w = weights + Vec::kLanes * j;
      float* const g = gradients + Vec::kLanes * j;
      Vec sum = Vec::Zero(), product = Vec::Zero();
#pragma GCC unroll 4
      for (int64_t key = 0; key < layout_.tokens; ++key) {
        const Vec weight = Exp2OfNegative(Sub(Vec::Load(w + key * kWidth), largest));
        weight.Store(w + key * kWidth);
        sum = Add(sum, weight);
        product = MulAdd(weight, Vec::Load(g + key * kWidth), product);
      }
      const Vec inverse = Div(Vec::Set(1.0f), sum), mean = Mul(product, inverse);
#pragma GCC unroll 4
      for (int64_t key = 0; key < layout_.tokens; ++key) {
        const Vec weight = Mul(Vec::Load(w + key * kWidth), inverse);
        weight.Store(w + key * kWidth);
        Mul(Mul(weight, scale), Sub(Vec::Load(g + key * kWidth), mean)).Store(g + key * kWidth);
      }
    }
  }

  // sums[key] += the rows [token, token + kWidth) of `from`, each times its column of [keys][kWidth] factors.
  template <int64_t kWidth>
  void Accumulate(const float* factors, const Tokens<const float>& from, int64_t token, float* panels,
                  float* sums) const {
    const Operand<float> operand = {factors, kWidth, 0, 1, kWidth};
    const Destination<float> to = {sums, layout_.pitch, sums, layout_.pitch};
    const int64_t rows = Min(kWidth, from.count - token);
    ForEachPanel(from.channels, kWidth, [&](int vectors, int64_t column, int64_t slot) {
      const int64_t width = vectors * Vec::kLanes;
      FillPanelRows(rows, Min(width, from.channels - column), width, panels + slot,
                    [&](int64_t row) { return from.data + from.offsets[token + row] + column; });
      ZeroElements(panels + slot + (1 + rows) * width, (kWidth - rows) * width);
      PanelRows<DotF32, Activation::kNone, true, false>(vectors, operand, 0, layout_.tokens, panels + slot,
                                                        to, column, width);
    });
  }

  const AttentionBackwardLayout& layout_;
  float* scratch_;
  Tokens<const float> queries_, keys_, values_, upstream_;
  Tokens<float> query_gradients_, key_gradients_, value_gradients_;
};

inline size_t AttentionBackwardScratchBytes(const AttentionBackwardArgs& args) {
  return static_cast<size_t>(AttentionBackwardLayout(args).slots) * sizeof(float);
}

inline void AttentionBackwardRun(const AttentionBackwardArgs& args, Range units, void* scratch) {
  const AttentionBackwardLayout layout(args);
  float* slots = static_cast<float*>(scratch);
  const auto find = [&](const Map& map, int64_t at) {
    FindTokens(map, args.patch_height, args.patch_width, reinterpret_cast<int64_t*>(slots + at));
  };
  find(args.qkv, layout.qkv_offsets);
  find(args.upstream, layout.upstream_offsets);
  find(args.gradient, layout.gradient_offsets);
  for (int64_t unit = units.begin; unit < units.end; ++unit) {
    AttentionBackwardHead(args, layout, slots, unit).Run();
  }
}

}  // namespace
}  // namespace mvf

// Attention straight from the map of queries, keys and values, whose tokens are walked by strides.
#pragma once

namespace mvf {
namespace {

constexpr int kQueryVectors = 2;

// Scratch memory in slots of a lane's size. Vectors are stored whole, so every part has one to spare at its
// end.
template <class Dot>
struct AttentionLayout {
  int64_t tokens, head_dim;
  int64_t key_units;    // of one key, along the head dimension
  int64_t token_units;  // of one channel of the values, along the tokens
  int64_t qkv_offsets, output_offsets, keys, values, queries, scores, outputs, slots;

  explicit AttentionLayout(const AttentionArgs& args)
      : tokens((args.qkv.height / args.patch_height) * (args.qkv.width / args.patch_width)),
        head_dim(args.output.channels / args.heads),
        key_units(Units<Dot>(head_dim)),
        token_units(Units<Dot>(tokens)) {
    constexpr int64_t kWidth = kQueryVectors * Vec::kLanes;
    constexpr int64_t kOffsetSlots = sizeof(int64_t) / sizeof(Vec::Lane);
    int64_t end = 0;
    const auto place = [&](int64_t size) {
      const int64_t start = end;
      end += RoundUp(size + Vec::kLanes, kAlignment / sizeof(Vec::Lane));
      return start;
    };
    qkv_offsets = place(tokens * kOffsetSlots);
    output_offsets = place(tokens * kOffsetSlots);
    keys = place(tokens * key_units);
    values = place(token_units * RoundUp(head_dim, 2));
    queries = place((kHeaderRows<Dot> + key_units) * kWidth);
    scores = place(tokens * kWidth);
    outputs = place(RoundUp(head_dim, Vec::kLanes) * kWidth);
    slots = end;
  }
};

// One unit of work: a head's tokens at one position of the patch.
template <class Dot>
class AttentionHead {
 public:
  using Element = typename Dot::Element;
  using Unit = typename Dot::Unit;

  AttentionHead(const AttentionArgs& args, const AttentionLayout<Dot>& layout, Vec::Lane* scratch,
                int64_t unit)
      : layout_(layout),
        key_tokens_(Qkv(args, scratch, unit, 1)),
        value_tokens_(Qkv(args, scratch, unit, 2)),
        query_tokens_(Qkv(args, scratch, unit, 0)),
        output_tokens_(
            TokensOf<Element>(args, args.output, unit, 0, Offsets(scratch, layout.output_offsets))),
        keys_(reinterpret_cast<Unit*>(scratch + layout.keys)),
        values_(reinterpret_cast<Unit*>(scratch + layout.values)),
        queries_(reinterpret_cast<Unit*>(scratch + layout.queries)),
        scores_(scratch + layout.scores),
        outputs_(scratch + layout.outputs) {}

  void Run() const {
    GatherRows(key_tokens_, reinterpret_cast<Element*>(keys_), layout_.key_units * Dot::kUnit);
    GatherValueGroups<Dot>(value_tokens_, values_);
    int64_t token = 0;
    constexpr int64_t kLeast = kIsCompact<Dot> ? 0 : Vec::kLanes;  // tokens that half a block serves
    for (; token + kLeast < layout_.tokens; token += kQueryVectors * Vec::kLanes) {
      Block<kQueryVectors>(token);
    }
    if constexpr (!kIsCompact<Dot>) {
      if (token < layout_.tokens) Block<1>(token);
    }
  }

 private:
  static const int64_t* Offsets(const Vec::Lane* scratch, int64_t at) {
    return reinterpret_cast<const int64_t*>(scratch + at);
  }
  Tokens<const Element> Qkv(const AttentionArgs& args, const Vec::Lane* scratch, int64_t unit,
                            int64_t part) const {
    return TokensOf<const Element>(args, args.qkv, unit, part, Offsets(scratch, layout_.qkv_offsets));
  }

  template <int kVectors>
  void Block(int64_t token) const {
    QueryStatistics<kVectors> statistics;
    GatherPanel<Dot, kVectors>(query_tokens_, token, ScoreScale(layout_.head_dim), queries_);
    ScoreKeys<Dot>(keys_, layout_.key_units, layout_.tokens, queries_, scores_, statistics);
    WeighChannels<Dot, kVectors, true>(layout_.head_dim, scores_, values_, layout_.tokens, statistics,
                                       outputs_);
    ScatterColumns<kVectors>(outputs_, output_tokens_, token);
  }

  const AttentionLayout<Dot>& layout_;
  Tokens<const Element> key_tokens_, value_tokens_, query_tokens_;
  Tokens<Element> output_tokens_;
  Unit* keys_;
  Unit* values_;
  Unit* queries_;
  Vec::Lane* scores_;
  Vec::Lane* outputs_;
};

template <class Dot>
size_t AttentionScratchBytes(const AttentionArgs& args) {
  return AttentionLayout<Dot>(args).slots * sizeof(Vec::Lane);
}

template <class Dot>
void AttentionRun(const AttentionArgs& args, Range units, void* scratch) {
  const AttentionLayout<Dot> layout(args);
  Vec::Lane* slots = static_cast<Vec::Lane*>(scratch);
  FindTokensOf(args, layout, slots);
  for (int64_t unit = units.begin; unit < units.end; ++unit) {
    AttentionHead<Dot>(args, layout, slots, unit).Run();
  }
}

}  // namespace
}  // namespace mvf

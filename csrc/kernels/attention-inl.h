// Attention straight from the map of queries, keys and values. A head's tokens are walked by strides and
// gathered into compact rows: in the map they lie a multiple of some power of two apart and would fight over
// a few sets of the cache, pass after pass.
#pragma once

namespace mvf {
namespace {

constexpr int kQueryVectors = 2;

// visit(first channel, rows) for groups of nearly equal, even height (so that few tiles serve every head
// dimension); the last may reach one row beyond the channels.
template <class Visit>
MVF_INLINE void ForEachValueGroup(int64_t head_dim, Visit visit) {
  const int64_t pairs = CeilDiv(head_dim, 2);
  const int64_t groups = CeilDiv(pairs, kValueRows / 2);
  int64_t channel = 0;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t rows = 2 * (pairs / groups + (group < pairs % groups ? 1 : 0));
    visit(channel, rows);
    channel += rows;
  }
}

// Scratch memory in slots of four bytes. Vectors are stored whole, so every part has one to spare at its end.
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
    constexpr int64_t kOffsetSlots = sizeof(int64_t) / sizeof(float);
    int64_t end = 0;
    const auto place = [&](int64_t size) {
      const int64_t start = end;
      end += RoundUp(size + Vec::kLanes, kAlignment / sizeof(float));
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

  AttentionHead(const AttentionArgs& args, const AttentionLayout<Dot>& layout, float* scratch, int64_t unit)
      : layout_(layout),
        qkv_offsets_(reinterpret_cast<const int64_t*>(scratch + layout.qkv_offsets)),
        output_offsets_(reinterpret_cast<const int64_t*>(scratch + layout.output_offsets)),
        keys_(reinterpret_cast<Unit*>(scratch + layout.keys)),
        values_(reinterpret_cast<Unit*>(scratch + layout.values)),
        queries_(reinterpret_cast<Unit*>(scratch + layout.queries)),
        scores_(scratch + layout.scores),
        outputs_(scratch + layout.outputs) {
    const int64_t position = unit / args.heads, channel = unit % args.heads * layout.head_dim;
    const int64_t y = position / args.patch_width, x = position % args.patch_width;
    query_ = args.qkv.Pixel<Element>(y, x) + channel;
    key_ = query_ + args.output.channels;
    value_ = key_ + args.output.channels;
    output_ = args.output.Pixel<Element>(y, x) + channel;
  }

  void Run() const {
    GatherKeys();
    GatherValues();
    int64_t token = 0;
    for (; token + Vec::kLanes < layout_.tokens; token += kQueryVectors * Vec::kLanes) {
      Block<kQueryVectors>(token);
    }
    if (token < layout_.tokens) Block<1>(token);
  }

 private:
  void GatherKeys() const {
    for (int64_t t = 0; t < layout_.tokens; ++t) {
      const Element* from = key_ + qkv_offsets_[t];
      Element* to = reinterpret_cast<Element*>(keys_ + t * layout_.key_units);
      ForEachVector(0, layout_.head_dim, [&](int64_t c, auto lanes) { lanes.Load(from + c).Store(to + c); });
    }
  }

  // Group by group of channels, so that a tile reads its group from front to back.
  void GatherValues() const {
    Unit* to = values_;
    ForEachValueGroup(layout_.head_dim, [&](int64_t channel, int64_t rows) {
      const int count = static_cast<int>(Min(rows, layout_.head_dim - channel));
      for (int64_t unit = 0; unit < layout_.token_units; ++unit) {
        Vec parts[Dot::kUnit];
        for (int k = 0; k < Dot::kUnit; ++k) {
          const int64_t t = unit * Dot::kUnit + k;
          parts[k] = Vec::Zero();
          if (t < layout_.tokens) parts[k] = Vec::LoadPartial(value_ + qkv_offsets_[t] + channel, count);
        }
        Dot::StoreUnits(parts, to);
        to += rows;
      }
    });
  }

  // Queries [token, token + kVectors * kLanes) as a panel without bias; lanes beyond the last token repeat
  // it.
  template <int kVectors>
  void GatherQueries(int64_t token) const {
    constexpr int kLanes = Vec::kLanes;
    constexpr int64_t kHeader = kHeaderRows<Dot> * kVectors * kLanes;
    for (int64_t i = 0; i < kHeader; ++i) queries_[i] = Unit{};
    // Scores come out as logarithms to base two.
    const Vec scale = Div(Vec::Set(kLog2E), Sqrt(Vec::Set(static_cast<float>(layout_.head_dim))));
    for (int j = 0; j < kVectors; ++j) {
      const Element* from[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        from[i] = query_ + qkv_offsets_[Min(token + j * kLanes + i, layout_.tokens - 1)];
      }
      ForEachVector(0, layout_.head_dim, [&](int64_t c, auto lanes) {
        Vec rows[kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) rows[i] = Mul(scale, lanes.Load(from[i] + c));
        Transpose(rows);
        const int64_t units = Min(kLanes / Dot::kUnit, layout_.key_units - c / Dot::kUnit);
        Unit* to = queries_ + kHeader + (c / Dot::kUnit * kVectors + j) * kLanes;
#pragma GCC unroll 16
        for (int u = 0; u < kLanes / Dot::kUnit; ++u) {
          if (u < units) Dot::StoreUnits(rows + u * Dot::kUnit, to + u * kVectors * kLanes);
        }
      });
    }
  }

  template <int kVectors>
  void StoreOutputs(int64_t token) const {
    constexpr int kLanes = Vec::kLanes;
    for (int j = 0; j < kVectors; ++j) {
      const int64_t* offsets = output_offsets_ + token + j * kLanes;
      const int64_t count = layout_.tokens - token - j * kLanes;
      ForEachVector(0, layout_.head_dim, [&](int64_t c, auto lanes) {
        Vec rows[kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) rows[i] = Vec::Load(outputs_ + ((c + i) * kVectors + j) * kLanes);
        Transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
          if (i < count) lanes.Store(rows[i], output_ + offsets[i] + c);
        }
      });
    }
  }

  template <int kVectors, bool kExponentiate, int kRows = kValueRows>
  void WeighRows(int64_t rows, const Unit* values, QueryStatistics<kVectors>& statistics,
                 float* output) const {
    if constexpr (kRows > 2) {
      if (rows < kRows) {
        return WeighRows<kVectors, kExponentiate, kRows - 2>(rows, values, statistics, output);
      }
    }
    WeighTile<Dot, kRows, kVectors, kExponentiate>(scores_, values, layout_.tokens, statistics, output);
  }

  template <int kVectors>
  void Block(int64_t token) const {
    QueryStatistics<kVectors> statistics;
    for (float& largest : statistics.largest) largest = -__builtin_inff();
    GatherQueries<kVectors>(token);
    const Operand<Unit> keys = {keys_, layout_.key_units, 0, 1, layout_.key_units};
    PanelTiles<Dot, TileRows(kVectors), kVectors, false>(
        keys, 0, layout_.tokens, queries_, ScoreEpilogue<kVectors * Vec::kLanes>{scores_, statistics.largest},
        0, Vec::kLanes);
    ForEachValueGroup(layout_.head_dim, [&](int64_t channel, int64_t rows) {
      const Unit* values = values_ + channel * layout_.token_units;
      float* output = outputs_ + channel * kVectors * Vec::kLanes;
      if (channel == 0) {
        WeighRows<kVectors, true>(rows, values, statistics, output);
      } else {
        WeighRows<kVectors, false>(rows, values, statistics, output);
      }
    });
    StoreOutputs<kVectors>(token);
  }

  const AttentionLayout<Dot>& layout_;
  const int64_t* qkv_offsets_;
  const int64_t* output_offsets_;
  Unit* keys_;
  Unit* values_;
  Unit* queries_;
  float* scores_;
  float* outputs_;
  const Element* query_;
  const Element* key_;
  const Element* value_;
  Element* output_;
};

template <class Dot>
size_t AttentionScratchBytes(const AttentionArgs& args) {
  return AttentionLayout<Dot>(args).slots * sizeof(float);
}

// Where a position's tokens lie from its first one, the same for every position and head: a division wherever
// a token is met would cost a tenth of the time.
inline void FindTokens(const Map& map, int64_t patch_height, int64_t patch_width, int64_t* offsets) {
  for (int64_t y = 0; y < map.height; y += patch_height) {
    for (int64_t x = 0; x < map.width; x += patch_width) {
      *offsets++ = y * map.row_stride + x * map.pixel_stride;
    }
  }
}

template <class Dot>
void AttentionRun(const AttentionArgs& args, Range units, void* scratch) {
  const AttentionLayout<Dot> layout(args);
  float* slots = static_cast<float*>(scratch);
  const auto find = [&](const Map& map, int64_t at) {
    FindTokens(map, args.patch_height, args.patch_width, reinterpret_cast<int64_t*>(slots + at));
  };
  find(args.qkv, layout.qkv_offsets);
  find(args.output, layout.output_offsets);
  for (int64_t unit = units.begin; unit < units.end; ++unit) {
    AttentionHead<Dot>(args, layout, slots, unit).Run();
  }
}

}  // namespace
}  // namespace mvf

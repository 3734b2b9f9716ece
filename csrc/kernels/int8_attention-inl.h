// 8-bit attention straight from the map of queries, keys and values, along the lines of attention-inl.h.
#pragma once

namespace mvf {
namespace {

// Scratch memory in slots of four bytes. Vectors are stored whole, so every part has some to spare at its
// end.
struct Int8AttentionLayout {
  int64_t tokens, head_dim;
  int64_t key_units;     // of one key, along the head dimension
  int64_t token_units;   // of one channel of the values, along the tokens
  int64_t value_stride;  // between the units of the values
  int64_t qkv_offsets, output_offsets, keys, values, queries, scores, outputs, slots;

  explicit Int8AttentionLayout(const Int8AttentionArgs& args)
      : tokens((args.qkv.height / args.patch_height) * (args.qkv.width / args.patch_width)),
        head_dim(args.output.channels / args.heads),
        key_units(RoundUp(head_dim, kBytesInUnit) / Int8Dot::kUnit),
        token_units(Int8Units(tokens)),
        value_stride(RoundUp(head_dim, kInterleaved)) {
    constexpr int64_t kWidth = kQueryVectors * Vec::kLanes;
    constexpr int64_t kSpare = ByteVec::kBytes * sizeof(Int8Dot::Element) / sizeof(int32_t);
    constexpr int64_t kOffsetSlots = sizeof(int64_t) / sizeof(int32_t);
    int64_t end = 0;
    const auto place = [&](int64_t size) {
      const int64_t start = end;
      end += RoundUp(size + kSpare, kAlignment / sizeof(int32_t));
      return start;
    };
    qkv_offsets = place(tokens * kOffsetSlots);
    output_offsets = place(tokens * kOffsetSlots);
    keys = place(tokens * key_units);
    values = place(token_units * value_stride);
    queries = place((kHeaderRows<Int8Dot> + key_units) * kWidth);
    scores = place(tokens * kWidth);
    outputs = place(RoundUp(head_dim, kBytesInUnit) * kWidth);
    slots = end;
  }

  // Lanes are four bytes wide on the way in and out.
  static constexpr int64_t kBytesInUnit = 4;
};

// One unit of work: a head's tokens at one position of the patch.
class Int8AttentionHead {
 public:
  using Element = Int8Dot::Element;
  using Unit = Int8Dot::Unit;

  Int8AttentionHead(const Int8AttentionArgs& args, const Int8AttentionLayout& layout, int32_t* scratch,
                    int64_t unit)
      : layout_(layout),
        scales_{args.score_scale * kDistanceSteps, args.output_multiplier,
                static_cast<float>(args.output_zero)},
        qkv_offsets_(reinterpret_cast<const int64_t*>(scratch + layout.qkv_offsets)),
        output_offsets_(reinterpret_cast<const int64_t*>(scratch + layout.output_offsets)),
        keys_(reinterpret_cast<Unit*>(scratch + layout.keys)),
        values_(reinterpret_cast<Unit*>(scratch + layout.values)),
        queries_(reinterpret_cast<Unit*>(scratch + layout.queries)),
        scores_(scratch + layout.scores),
        outputs_(scratch + layout.outputs) {
    const int64_t position = unit / args.heads, channel = unit % args.heads * layout.head_dim;
    const int64_t y = position / args.patch_width, x = position % args.patch_width;
    query_ = args.qkv.Pixel<uint8_t>(y, x) + channel;
    key_ = query_ + args.output.channels;
    value_ = key_ + args.output.channels;
    output_ = args.output.Pixel<uint8_t>(y, x) + channel;
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
  static constexpr int64_t kBytesInUnit = Int8AttentionLayout::kBytesInUnit;
  static constexpr int kUnitsOfLane = kBytesInUnit / Int8Dot::kUnit;

  // visit(first channel, bytes) for each vector of bytes of a head's channels.
  template <class Visit>
  MVF_INLINE void ForEachBytes(Visit visit) const {
    for (int64_t c = 0; c < layout_.head_dim; c += ByteVec::kBytes) {
      visit(c, Min(layout_.head_dim - c, ByteVec::kBytes));
    }
  }

  void GatherKeys() const {
    for (int64_t t = 0; t < layout_.tokens; ++t) {
      const uint8_t* from = key_ + qkv_offsets_[t];
      Element* to = reinterpret_cast<Element*>(keys_ + t * layout_.key_units);
      ForEachBytes([&](int64_t c, int64_t n) { StoreElements<Int8Dot>(LoadBytes(from + c, n), to + c); });
    }
  }

  // Beyond the last token the last one is repeated; its weight there is zero.
  void GatherValues() const {
    Unit* to = values_;
    for (int64_t t = 0; t < layout_.tokens; t += Int8Dot::kUnit) {
      for (int64_t c = 0; c < layout_.head_dim; c += kInterleaved) {
        const uint8_t* from[Int8Dot::kUnit];
        for (int k = 0; k < Int8Dot::kUnit; ++k) {
          from[k] = value_ + qkv_offsets_[Min(t + k, layout_.tokens - 1)] + c;
        }
        StoreInterleaved<Int8Dot>(from, Min(layout_.head_dim - c, kInterleaved), to + c);
      }
      to += layout_.value_stride;
    }
  }

  // Queries [token, token + kVectors * kLanes) as a panel, whose bias is where scores start; lanes beyond the
  // last token repeat it.
  template <int kVectors>
  void GatherQueries(int64_t token) const {
    constexpr int kLanes = Vec::kLanes;
    constexpr int64_t kWidth = kVectors * kLanes;
    const IntVec start = IntVec::Set(StartsAsFloat(layout_.head_dim) ? kFloatStart : 0);
    for (int j = 0; j < kVectors; ++j) start.Store(reinterpret_cast<int32_t*>(queries_) + j * kLanes);
    for (int j = 0; j < kVectors; ++j) {
      const uint8_t* from[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        from[i] = query_ + qkv_offsets_[Min(token + j * kLanes + i, layout_.tokens - 1)];
      }
      Unit* const panel = queries_ + kHeaderRows<Int8Dot> * kWidth + j * kLanes;
      ForEachBytes([&](int64_t c, int64_t n) {
        ByteVec rows[kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) rows[i] = LoadBytes(from[i] + c, n);
        TransposeUnits(rows);
        Unit* const to = panel + c / Int8Dot::kUnit * kWidth;
#pragma GCC unroll 16
        for (int u = 0; u < kLanes; ++u) {
          if (u * kBytesInUnit < n) {
            StoreSignedUnits<Int8Dot>(rows[u], to + u * kUnitsOfLane * kWidth, kWidth);
          }
        }
      });
    }
  }

  template <int kVectors>
  void StoreOutputs(int64_t token) const {
    constexpr int kLanes = Vec::kLanes;
    constexpr int64_t kWidth = kVectors * kLanes;
    for (int j = 0; j < kVectors; ++j) {
      const int64_t* offsets = output_offsets_ + token + j * kLanes;
      const int64_t count = Min(layout_.tokens - token - j * kLanes, kLanes);
      ForEachBytes([&](int64_t c, int64_t n) {
        ByteVec rows[kLanes] = {};
#pragma GCC unroll 16
        for (int u = 0; u < kLanes; ++u) {
          const int32_t* from = outputs_ + (c + u * kBytesInUnit) * kWidth + j * kLanes;
          if (u * kBytesInUnit < n) {
            rows[u] = PackLanes(IntVec::Load(from), IntVec::Load(from + kWidth),
                                IntVec::Load(from + 2 * kWidth), IntVec::Load(from + 3 * kWidth));
          }
        }
        TransposeUnits(rows);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
          if (i < count) StoreBytes(rows[i], output_ + offsets[i] + c, n);
        }
      });
    }
  }

  template <int kVectors, int kRows = kValueRows>
  void WeighRows(int64_t rows, int64_t channel, const Int8QueryStatistics<kVectors>& statistics) const {
    if constexpr (kRows > 2) {
      if (rows < kRows) return WeighRows<kVectors, kRows - 2>(rows, channel, statistics);
    }
    WeighValues<Int8Dot, kRows, kVectors>(scores_, values_ + channel, layout_.value_stride,
                                          layout_.token_units, scales_, statistics,
                                          outputs_ + channel * kVectors * Vec::kLanes);
  }

  template <int kVectors>
  void Block(int64_t token) const {
    Int8QueryStatistics<kVectors> statistics;
    for (int32_t& largest : statistics.largest) largest = INT32_MIN;
    GatherQueries<kVectors>(token);
    constexpr int64_t kWidth = kVectors * Vec::kLanes;
    const Operand<Unit> keys = {keys_, layout_.key_units, 0, 1, layout_.key_units};
    const auto score = [&](auto epilogue) {
      PanelTiles<Int8Dot, TileRows(kVectors), kVectors, false>(keys, 0, layout_.tokens, queries_, epilogue, 0,
                                                               Vec::kLanes);
    };
    if constexpr (TileRegisters<Int8Dot>::kExist) {
      score(SumsInPlace<int32_t>{scores_, kWidth});
      FindLargest<IntVec, kVectors>(scores_, layout_.tokens, statistics.largest);
    } else {
      score(ScoreEpilogue<kWidth, IntVec, int32_t>{scores_, statistics.largest});
    }
    if (StartsAsFloat(layout_.head_dim)) {
      WeighKeys<Int8Dot, kVectors, true>(scores_, layout_.tokens, scales_, statistics);
    } else {
      WeighKeys<Int8Dot, kVectors, false>(scores_, layout_.tokens, scales_, statistics);
    }
    ForEachValueGroup(layout_.head_dim,
                      [&](int64_t channel, int64_t rows) { WeighRows<kVectors>(rows, channel, statistics); });
    StoreOutputs<kVectors>(token);
  }

  const Int8AttentionLayout& layout_;
  const Int8AttentionScales scales_;
  const int64_t* qkv_offsets_;
  const int64_t* output_offsets_;
  Unit* keys_;
  Unit* values_;
  Unit* queries_;
  int32_t* scores_;
  int32_t* outputs_;
  const uint8_t* query_;
  const uint8_t* key_;
  const uint8_t* value_;
  uint8_t* output_;
};

inline size_t Int8AttentionScratchBytes(const Int8AttentionArgs& args) {
  return static_cast<size_t>(Int8AttentionLayout(args).slots) * sizeof(int32_t);
}

inline void Int8AttentionRun(const Int8AttentionArgs& args, Range units, void* scratch) {
  const Int8AttentionLayout layout(args);
  int32_t* slots = static_cast<int32_t*>(scratch);
  FindTokensOf(args, layout, slots);
  for (int64_t unit = units.begin; unit < units.end; ++unit) {
    Int8AttentionHead(args, layout, slots, unit).Run();
  }
}

}  // namespace
}  // namespace mvf

// Tokens between their map and the compact forms that attention multiplies. In the map a head's tokens lie a
// multiple of some power of two apart and would fight over a few sets of the cache, pass after pass.
#pragma once

namespace mvf {
namespace {

// Where a position's tokens lie from its first one, the same for every position and head: a division wherever
// a token is met would cost a tenth of the time.
inline void FindTokens(const Map& map, int64_t patch_height, int64_t patch_width, int64_t* offsets) {
  for (int64_t y = 0; y < map.height; y += patch_height) {
    for (int64_t x = 0; x < map.width; x += patch_width) {
      *offsets++ = y * map.row_stride + x * map.pixel_stride;
    }
  }
}

// The same for the maps of an attention, to where its layout has them in scratch memory.
template <class Args, class Layout, class Slot>
void FindTokensOf(const Args& args, const Layout& layout, Slot* scratch) {
  const auto find = [&](const Map& map, int64_t at) {
    FindTokens(map, args.patch_height, args.patch_width, reinterpret_cast<int64_t*>(scratch + at));
  };
  find(args.qkv, layout.qkv_offsets);
  find(args.output, layout.output_offsets);
}

// Some channels of a head's tokens in a map: token t's begin at data + offsets[t].
template <class Element>
struct Tokens {
  Element* data;
  const int64_t* offsets;
  int64_t count;
  int64_t channels;
};

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

// What queries or scores are multiplied by, so that scores are logarithms to base two.
inline Vec ScoreScale(int64_t head_dim) {
  return Vec::Set(kLog2E / __builtin_sqrtf(static_cast<float>(head_dim)));
}

// One row for each token, `pitch` elements apart.
template <class Element>
void GatherRows(const Tokens<const Element>& from, Element* to, int64_t pitch) {
  for (int64_t t = 0; t < from.count; ++t, to += pitch) {
    const Element* token = from.data + from.offsets[t];
    ForEachVector(0, from.channels, [&](int64_t c, auto lanes) { lanes.Load(token + c).Store(to + c); });
  }
}

// The way back.
template <class Element>
void ScatterRows(const Element* from, int64_t pitch, const Tokens<Element>& to) {
  for (int64_t t = 0; t < to.count; ++t, from += pitch) {
    Element* token = to.data + to.offsets[t];
    ForEachVector(0, to.channels,
                  [&](int64_t c, auto lanes) { lanes.Store(lanes.Load(from + c), token + c); });
  }
}

// For WeighTile: group by group of channels, so that a tile reads its group from front to back.
template <class Dot>
void GatherValueGroups(const Tokens<const typename Dot::Element>& from, typename Dot::Unit* to) {
  const int64_t token_units = Units<Dot>(from.count);
  ForEachValueGroup(from.channels, [&](int64_t channel, int64_t rows) {
    const int count = static_cast<int>(Min(rows, from.channels - channel));
    for (int64_t unit = 0; unit < token_units; ++unit) {
      Vec parts[Dot::kUnit];
      for (int k = 0; k < Dot::kUnit; ++k) {
        const int64_t t = unit * Dot::kUnit + k;
        parts[k] = Vec::Zero();
        if (t >= from.count) continue;
        const auto* const token = from.data + from.offsets[t] + channel;
        parts[k] = count == Vec::kLanes ? Vec::Load(token) : Vec::LoadPartial(token, count);
      }
      Dot::StoreUnits(parts, to);
      to += rows;
    }
  });
}

// Tokens [first, first + kVectors * kLanes) times `scale` as the columns of a panel without bias; those
// beyond the last token repeat it.
template <class Dot, int kVectors>
void GatherPanel(const Tokens<const typename Dot::Element>& from, int64_t first, Vec scale,
                 typename Dot::Unit* panel) {
  using Unit = typename Dot::Unit;
  constexpr int kLanes = Vec::kLanes;
  constexpr int64_t kHeader = kHeaderRows<Dot> * kVectors * kLanes;
  const int64_t channel_units = Units<Dot>(from.channels);
  for (int64_t i = 0; i < kHeader; ++i) panel[i] = Unit{};
  for (int j = 0; j < kVectors; ++j) {
    const typename Dot::Element* token[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      token[i] = from.data + from.offsets[Min(first + j * kLanes + i, from.count - 1)];
    }
    ForEachVector(0, from.channels, [&](int64_t c, auto lanes) {
      Vec rows[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) rows[i] = Mul(scale, lanes.Load(token[i] + c));
      Transpose(rows);
      const int64_t units = Min(kLanes / Dot::kUnit, channel_units - c / Dot::kUnit);
      Unit* to = panel + kHeader + (c / Dot::kUnit * kVectors + j) * kLanes;
#pragma GCC unroll 16
      for (int u = 0; u < kLanes / Dot::kUnit; ++u) {
        if (u < units) Dot::StoreUnits(rows + u * Dot::kUnit, to + u * kVectors * kLanes);
      }
    });
  }
}

// [channels][kVectors * kLanes] to tokens [first, first + kVectors * kLanes), as far as there are any.
template <int kVectors, class Element>
void ScatterColumns(const Vec::Lane* columns, const Tokens<Element>& to, int64_t first) {
  constexpr int kLanes = Vec::kLanes;
  for (int j = 0; j < kVectors; ++j) {
    const int64_t* offsets = to.offsets + first + j * kLanes;
    const int64_t count = to.count - first - j * kLanes;
    ForEachVector(0, to.channels, [&](int64_t c, auto lanes) {
      Vec rows[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) rows[i] = Vec::Load(columns + ((c + i) * kVectors + j) * kLanes);
      Transpose(rows);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        if (i < count) lanes.Store(rows[i], to.data + offsets[i] + c);
      }
    });
  }
}

// The tokens that a unit of work is about, which is a position of the patch and a head. `part` tells queries,
// keys and values (0, 1, 2) apart in a map that has all three.
template <class Element, class Args>
Tokens<Element> TokensOf(const Args& args, const Map& map, int64_t unit, int64_t part,
                         const int64_t* offsets) {
  const int64_t dim = args.qkv.channels / 3, head_dim = dim / args.heads, position = unit / args.heads;
  const int64_t count = (map.height / args.patch_height) * (map.width / args.patch_width);
  Element* const pixel = map.Pixel<Element>(position / args.patch_width, position % args.patch_width);
  return {pixel + part * dim + unit % args.heads * head_dim, offsets, count, head_dim};
}

}  // namespace
}  // namespace mvf

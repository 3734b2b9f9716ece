#include "engine/arena.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "base/memory.h"

namespace mvf {
namespace {

bool Meet(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

struct Occupied {
  size_t begin;
  size_t end;
};

// The start of the smallest gap of at least `bytes` between `occupied` (sorted by begin), or the end of them
// all.
size_t TightestGap(const std::vector<Occupied>& occupied, size_t bytes) {
  size_t best = SIZE_MAX, best_gap = SIZE_MAX, end = 0;
  for (const Occupied& block : occupied) {
    if (block.begin > end && block.begin - end >= bytes && block.begin - end < best_gap) {
      best = end;
      best_gap = block.begin - end;
    }
    end = std::max(end, block.end);
  }
  return best == SIZE_MAX ? end : best;
}

}  // namespace

ArenaLayout PlaceInArena(const std::vector<Lifetime>& blocks) {
  std::vector<size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Largest first; equals in their own order, so that the layout is the same everywhere.
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return blocks[a].bytes != blocks[b].bytes ? blocks[a].bytes > blocks[b].bytes : a < b;
  });

  ArenaLayout layout{std::vector<size_t>(blocks.size(), 0), 0};
  std::vector<size_t> placed;
  for (size_t block : order) {
    std::vector<Occupied> occupied;
    for (size_t other : placed) {
      if (!Meet(blocks[block], blocks[other])) continue;
      occupied.push_back(
          {layout.offsets[other], layout.offsets[other] + RoundUp(blocks[other].bytes, kCacheLine)});
    }
    std::sort(occupied.begin(), occupied.end(),
              [](const Occupied& a, const Occupied& b) { return a.begin < b.begin; });
    const size_t bytes = RoundUp(blocks[block].bytes, kCacheLine);
    layout.offsets[block] = TightestGap(occupied, bytes);
    layout.bytes = std::max(layout.bytes, CheckedSum(layout.offsets[block], bytes));
    placed.push_back(block);
  }
  return layout;
}

}  // namespace mvf

#include <random>

#include "check.h"
#include "engine/arena.h"

namespace mvf {
namespace {

void CheckNoOverlap(const std::vector<Lifetime>& blocks, const ArenaLayout& layout) {
  for (size_t a = 0; a < blocks.size(); ++a) {
    CHECK_EQUAL(layout.offsets[a] % 64, 0u);
    CHECK(layout.offsets[a] + blocks[a].bytes <= layout.bytes);
    for (size_t b = 0; b < a; ++b) {
      const bool meet = blocks[a].first <= blocks[b].last && blocks[b].first <= blocks[a].last;
      const bool overlap = layout.offsets[a] < layout.offsets[b] + blocks[b].bytes &&
                           layout.offsets[b] < layout.offsets[a] + blocks[a].bytes;
      CHECK(!(meet && overlap));
    }
  }
}

TEST(arena, blocks_of_one_chain_share_two_places) {
  const std::vector<Lifetime> blocks = {{640, 0, 1}, {640, 1, 2}, {640, 2, 3}, {640, 3, 4}};
  const ArenaLayout layout = PlaceInArena(blocks);
  CheckNoOverlap(blocks, layout);
  CHECK_EQUAL(layout.bytes, 1280u);
}

TEST(arena, the_tightest_gap_is_taken) {
  // At step 1 blocks 1 and 3 are gone and leave gaps; the last block fits both.
  const std::vector<Lifetime> blocks = {{2048, 0, 1}, {1024, 0, 0}, {1024, 0, 1},
                                        {512, 0, 0},  {512, 0, 1},  {256, 1, 1}};
  const ArenaLayout layout = PlaceInArena(blocks);
  CheckNoOverlap(blocks, layout);
  CHECK_EQUAL(layout.bytes, 2048u + 1024 + 1024 + 512 + 512);
  CHECK_EQUAL(layout.offsets[5], layout.offsets[3]);
}

TEST(arena, nothing_takes_nothing) { CHECK_EQUAL(PlaceInArena({}).bytes, 0u); }

TEST(arena, random_lifetimes_never_overlap) {
  std::mt19937 generator(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<Lifetime> blocks;
    for (int i = 0; i < 30; ++i) {
      const int first = static_cast<int>(generator() % 20);
      blocks.push_back({generator() % 5000, first, first + static_cast<int>(generator() % 6)});
    }
    CheckNoOverlap(blocks, PlaceInArena(blocks));
  }
}

}  // namespace
}  // namespace mvf

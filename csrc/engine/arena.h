// Places blocks of memory that live at different times into one buffer.
#pragma once

#include <cstddef>
#include <vector>

namespace mvf {

// Needed from step `first` to step `last`, both included.
struct Lifetime {
  size_t bytes = 0;
  int first = 0;
  int last = 0;
};

struct ArenaLayout {
  std::vector<size_t> offsets;  // multiples of a cache line
  size_t bytes = 0;
};

// Blocks whose lifetimes meet do not overlap. Greedy by size, each block at the tightest gap that holds it:
// Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference".
ArenaLayout PlaceInArena(const std::vector<Lifetime>& blocks);

}  // namespace mvf

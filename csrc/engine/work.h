// How threads divide a step.
#pragma once

#include "base/view.h"

namespace mvf {

// Work units of each kind of arguments, and the multiple at which threads divide them: a kernel's tile of
// rows or channels.
struct Work {
  int64_t units = 0;
  int64_t grain = 1;
};

// The part of the work that thread `index` of `count` does: contiguous, whole grains.
inline Range ShareOf(const Work& work, int64_t index, int64_t count) {
  const int64_t grains = (work.units + work.grain - 1) / work.grain;
  const int64_t begin = grains * index / count * work.grain, end = grains * (index + 1) / count * work.grain;
  return {begin, end < work.units ? end : work.units};
}

}  // namespace mvf

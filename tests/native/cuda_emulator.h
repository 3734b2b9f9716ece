// Runs the device's kernels on a host, a block at a time, each thread of it on a stack of its own.
//
// A thread runs until it has to wait: at a barrier, or where the lanes of its warp exchange something; a warp
// runs as far as it gets without the others. What a device leaves open is chosen by the schedule, so that a
// kernel which depends on it gives different results: which warp and thread run first, and whether a copy
// lands as soon as it is asked for or as late as it may. Shared memory begins as NaNs, ends exactly where the
// launch says, and what a device traps at throws here: misaligned words, lanes that meet at different places,
// a barrier that some threads never reach.
#pragma once

#include <functional>
#include <vector>

namespace mvf_test {

struct Schedule {
  bool last_thread_first = false;
  bool copies_land_late = false;
};

// For the launches from now on.
void SetSchedule(const Schedule& schedule);

// Launches from now on are kept, not run, until EndCapture hands them over.
void BeginCapture();
std::vector<std::function<void()>> EndCapture();

}  // namespace mvf_test

// Devices and schedules that the tests of the device's kernels run under.
#pragma once

#include "cuda/cuda_run.h"
#include "cuda_emulator.h"

namespace mvf_test {

// A device of few multiprocessors gets large tiles, one of many small ones.
inline mvf::CudaRun FewMultiprocessors(int64_t images) {
  mvf::CudaRun run;
  run.images = images;
  run.multiprocessors = 1;
  run.shared_bytes = 227 * 1024;
  return run;
}
inline mvf::CudaRun ManyMultiprocessors(int64_t images) {
  mvf::CudaRun run = FewMultiprocessors(images);
  run.multiprocessors = 10000;
  run.shared_bytes = 99 * 1024;
  return run;
}

// Calls run() under every schedule of the emulator.
template <class Run>
void ForEachSchedule(Run&& run) {
  for (bool last_first : {false, true}) {
    for (bool late : {false, true}) {
      SetSchedule({last_first, late});
      run();
    }
  }
  SetSchedule({});
}

}  // namespace mvf_test

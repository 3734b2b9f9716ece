// Runs a kernel of ours on the threads of an onnxruntime session.
#pragma once

#include <exception>
#include <mutex>

#include "base/memory.h"
#include "engine/bind.h"
#include "engine/engine.h"
#include "onnxruntime/node.h"

namespace mvf::ort {

// A thread's own, kept for its next node.
inline AlignedBuffer& ThreadScratch() {
  thread_local AlignedBuffer scratch;
  return scratch;
}

// Runs kernel on args_at(0) ... args_at(items - 1), which are of equal sizes and independent of one another.
// Items go to threads as the images of a batch do in the engine.
template <class Args, class ArgsAt>
void RunItems(const NodeCall& call, const Kernel<Args>& kernel, int64_t items, int threads,
              ArgsAt&& args_at) {
  if (items == 0) return;
  struct Job {
    const Kernel<Args>& kernel;
    ArgsAt& args_at;
    BatchShare share;
    int threads;
    size_t scratch_bytes;
    std::mutex mutex;
    std::exception_ptr error;

    void Run(size_t task) {
      const int64_t index = static_cast<int64_t>(task), split = index - share.whole;
      const bool is_whole = split < 0;
      const Args args = args_at(is_whole ? index : share.whole + split / threads);
      const Range units =
          is_whole ? Range{0, WorkOf(args).units} : ShareOf(WorkOf(args), split % threads, threads);
      if (units.begin >= units.end) return;
      AlignedBuffer& scratch = ThreadScratch();
      scratch.Reserve(scratch_bytes, "kernel scratch");
      kernel.run(args, units, scratch.data());
    }
  };
  const Args first = args_at(0);
  Job job{kernel, args_at, ShareBatch(items, threads), threads, kernel.scratch_bytes(first), {}, {}};
  const size_t tasks = static_cast<size_t>(job.share.whole + job.share.split * threads);
  const auto run = [](void* user, size_t task) {
    Job& own = *static_cast<Job*>(user);
    try {
      own.Run(task);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(own.mutex);
      own.error = std::current_exception();
    }
  };
  if (tasks == 1) {
    job.Run(0);
    return;
  }
  call.ParallelFor(run, tasks, &job);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace mvf::ort

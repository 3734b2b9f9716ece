// Runs one kernel outside an engine: divides its work among the threads of torch, or of the process's own
// pool.
#pragma once

#include <atomic>

#include "base/memory.h"
#include "base/thread_pool.h"
#include "engine/bind.h"
#include "engine/engine.h"
#include "engine/pack.h"
#include "python/arrays.h"
#include "python/openmp_team.h"

namespace mvf {

// Runs kernel on args_at(0) ... args_at(items - 1), which are of equal sizes and independent of one another.
// Items go to threads as the images of a batch do.
template <class Args, class ArgsAt>
void RunItems(const Kernel<Args>& kernel, int64_t items, int threads, ArgsAt&& args_at) {
  if (items == 0) return;
  const size_t stride = RoundUp(kernel.scratch_bytes(args_at(0)), kCacheLine);
  AlignedBuffer scratch;
  const auto run = [&](int64_t item, const Team& team, std::byte* own) {
    const Args args = args_at(item);
    const Range share = ShareOf(WorkOf(args), team.index, team.size);
    if (share.begin < share.end) kernel.run(args, share, own);
  };
  if (threads > 1) {
    std::atomic<int64_t> next{0};
    auto run_share = [&](const Team& team) {
      std::byte* own = scratch.data() + stride * static_cast<size_t>(team.index);
      const BatchShare share = ShareBatch(items, team.size);
      for (int64_t i = next.fetch_add(1); i < share.whole; i = next.fetch_add(1)) run(i, Team{}, own);
      for (int64_t i = share.whole; i < items; ++i) run(i, team, own);
    };
    const auto reserve = [&] {
      scratch.Reserve(CheckedProduct(stride, static_cast<size_t>(threads)), "kernel scratch");
    };
    if (const std::optional<OpenMpTeam> team = OpenMpTeam::Find()) {
      reserve();
      team->Run(threads, run_share);
      return;
    }
    ThreadPool::Lease lease(SharedPool(threads));
    if (lease.held()) {
      reserve();
      lease.Run(run_share);
      return;
    }
  }
  scratch.Reserve(stride, "kernel scratch");
  for (int64_t i = 0; i < items; ++i) run(i, Team{}, scratch.data());
}

// A kernel that takes one map in and gives one out, over the maps of a batch.
template <class Args, class AnyView>
void RunMaps(const Kernel<Args>& kernel, const Args& like, const AnyView& x, const AnyView& output,
             int threads) {
  RunItems(kernel, x.shape[0], threads, [&](int64_t n) {
    Args args = like;
    args.input = MapAt(x, n);
    args.output = MapAt(output, n);
    return args;
  });
}

}  // namespace mvf

#include "python/openmp_team.h"

#include <dlfcn.h>
#include <pthread.h>

namespace mvf {
namespace {

bool forked = false;
[[maybe_unused]] const int watching = pthread_atfork(nullptr, nullptr, [] { forked = true; });

template <class Function>
bool Look(const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
  return function != nullptr;
}

}  // namespace

std::optional<OpenMpTeam> OpenMpTeam::Find() {
  OpenMpTeam team;
  if (forked || !Look("GOMP_parallel", team.parallel_) || !Look("omp_get_thread_num", team.thread_index_) ||
      !Look("omp_get_num_threads", team.team_size_)) {
    return std::nullopt;
  }
  return team;
}

void OpenMpTeam::RunErased(int threads, void (*call)(void*, const Team&), void* callee) const {
  struct Region {
    const OpenMpTeam& team;
    void (*call)(void*, const Team&);
    void* callee;
  } whole = {*this, call, callee};
  const auto run = [](void* data) {
    const Region& region = *static_cast<const Region*>(data);
    region.call(region.callee, Team{region.team.thread_index_(), region.team.team_size_(), nullptr});
  };
  parallel_(run, &whole, static_cast<unsigned>(threads), 0);
}

}  // namespace mvf

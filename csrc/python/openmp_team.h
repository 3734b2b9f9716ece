// The threads of an OpenMP runtime that somebody else has loaded, such as torch.
#pragma once

#include <optional>
#include <type_traits>

#include "base/thread_pool.h"

namespace mvf {

// Threads of OpenMP wait actively for a while after each parallel region. Two pools would so take the cores
// from each other by turns: operations that torch calls run on torch's.
class OpenMpTeam {
 public:
  // The runtime whose functions are visible to the whole process, if there is one. A child of fork() has
  // none: it inherits no threads, which these runtimes do not notice.
  static std::optional<OpenMpTeam> Find();

  // Runs function(const Team&) on up to `threads` threads at once and returns when all have. The team has no
  // barrier. The function must not throw.
  template <class Function>
  void Run(int threads, Function&& function) const {
    using Callee = std::remove_reference_t<Function>;
    const auto call = [](void* callee, const Team& team) { (*static_cast<Callee*>(callee))(team); };
    RunErased(threads, call, &function);
  }

 private:
  void RunErased(int threads, void (*call)(void*, const Team&), void* callee) const;

  // What GNU's compilers call, and LLVM's and Intel's runtimes offer as well.
  void (*parallel_)(void (*region)(void*), void* data, unsigned threads, unsigned flags) = nullptr;
  int (*thread_index_)() = nullptr;
  int (*team_size_)() = nullptr;
};

}  // namespace mvf

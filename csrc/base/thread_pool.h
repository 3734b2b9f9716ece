// A pool of threads that run one function together, and sleep in between.
#pragma once

#include <memory>
#include <mutex>
#include <type_traits>

#include "base/wait_word.h"

namespace mvf {

// Who a thread is among those that run one function together.
struct Team {
  int index = 0;  // 0 is the caller
  int size = 1;
  Barrier* barrier = nullptr;

  // Waits until the whole team has come here. What each wrote before is seen by all after.
  void Sync() const {
    if (size > 1) barrier->Arrive(size);
  }
};

struct PoolState;

// Workers start with the first lease; where the system grants fewer threads than asked for, teams are
// smaller. A child of fork() has no workers: its pools begin anew with the child's first lease.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // the caller is one of them
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return threads_; }

  // Holds the pool for its caller, if nobody else did.
  class Lease {
   public:
    explicit Lease(ThreadPool& pool);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    bool held() const { return state_ != nullptr; }
    int team_size() const;  // of a held pool: the threads that Run has, at most those asked for

    // Runs function(const Team&) on every thread of the pool and returns when all have. It must not throw.
    template <class Function>
    void Run(Function&& function) {
      using Callee = std::remove_reference_t<Function>;
      RunErased([](void* callee, const Team& team) { (*static_cast<Callee*>(callee))(team); }, &function);
    }

   private:
    void RunErased(void (*call)(void*, const Team&), void* callee);

    PoolState* state_;
  };

 private:
  friend class ForkHooks;

  const int threads_;
  PoolState* state_;  // replaced, and the old one abandoned, in a child of fork()
};

// The process's own pool of that many threads; it lives as long as the process.
ThreadPool& SharedPool(int threads);

// A mutex for short sections that no fork() can cut through: a child never finds it locked.
std::mutex& ForkSafeMutex();

}  // namespace mvf

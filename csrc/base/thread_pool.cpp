#include "base/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <system_error>
#include <thread>
#include <vector>

namespace mvf {

// Everything that the threads of a pool share.
struct PoolState {
  std::atomic<bool> leased{false};
  WaitWord started;
  WaitWord finished;
  Barrier barrier;
  std::atomic<int> running{0};  // workers that have not finished
  void (*call)(void*, const Team&) = nullptr;
  void* callee = nullptr;
  int team = 1;
  bool stop = false;
  std::vector<std::thread> workers;

  void Work(int index) {
    for (uint32_t seen = 0;; ++seen) {
      started.WaitWhile(seen);
      if (stop) return;
      call(callee, Team{index, team, &barrier});
      if (running.fetch_sub(1) == 1) finished.Advance();
    }
  }

  void StartWorkers(int count) {
    // Signals are for the program's own threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      workers.reserve(static_cast<size_t>(count));
      while (static_cast<int>(workers.size()) < count) {
        workers.emplace_back(&PoolState::Work, this, static_cast<int>(workers.size()) + 1);
      }
    } catch (const std::system_error&) {
      // The system's limit on threads: the team is the caller and the workers that there are.
    } catch (const std::bad_alloc&) {
      // Its limit on memory: the same.
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    team = static_cast<int>(workers.size()) + 1;
  }
};

// What has to hold before and after fork(): the child's pools know that they have no workers.
class ForkHooks {
 public:
  static ForkHooks& Get() {
    static auto* hooks = new ForkHooks;  // never destroyed: threads may outlive main
    return *hooks;
  }

  void Add(ThreadPool* pool) {
    std::lock_guard<std::mutex> lock(mutex);
    pools_.push_back(pool);
  }
  void Remove(ThreadPool* pool) {
    std::lock_guard<std::mutex> lock(mutex);
    pools_.erase(std::find(pools_.begin(), pools_.end(), pool));
  }

  std::mutex mutex;

 private:
  ForkHooks() {
    pthread_atfork([] { Get().mutex.lock(); }, [] { Get().mutex.unlock(); },
                   [] {
                     for (ThreadPool* pool : Get().pools_) pool->state_ = new PoolState;
                     Get().mutex.unlock();
                   });
  }

  std::vector<ThreadPool*> pools_;
};

std::mutex& ForkSafeMutex() { return ForkHooks::Get().mutex; }

ThreadPool::ThreadPool(int threads) : threads_(threads), state_(new PoolState) { ForkHooks::Get().Add(this); }

ThreadPool::~ThreadPool() {
  ForkHooks::Get().Remove(this);
  state_->stop = true;
  state_->started.Advance();
  for (std::thread& worker : state_->workers) worker.join();
  delete state_;
}

ThreadPool::Lease::Lease(ThreadPool& pool)
    : state_(pool.state_->leased.exchange(true) ? nullptr : pool.state_) {
  if (state_ && state_->workers.empty()) state_->StartWorkers(pool.threads_ - 1);
}

ThreadPool::Lease::~Lease() {
  if (state_) state_->leased.store(false);
}

int ThreadPool::Lease::team_size() const { return state_->team; }

void ThreadPool::Lease::RunErased(void (*call)(void*, const Team&), void* callee) {
  PoolState& state = *state_;
  state.call = call;
  state.callee = callee;
  state.running.store(state.team - 1);
  const uint32_t finished = state.finished.Load();
  if (state.team > 1) state.started.Advance();
  call(callee, Team{0, state.team, &state.barrier});
  if (state.team > 1) state.finished.WaitWhile(finished);
}

ThreadPool& SharedPool(int threads) {
  static auto* pools = new std::map<int, std::unique_ptr<ThreadPool>>;  // never destroyed, as above
  {
    std::lock_guard<std::mutex> lock(ForkSafeMutex());
    const auto found = pools->find(threads);
    if (found != pools->end()) return *found->second;
  }
  auto pool = std::make_unique<ThreadPool>(threads);  // takes the mutex itself
  std::lock_guard<std::mutex> lock(ForkSafeMutex());
  return *pools->try_emplace(threads, std::move(pool)).first->second;
}

}  // namespace mvf

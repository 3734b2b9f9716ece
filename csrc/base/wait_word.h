// A counter that threads wait on: spinning for some tens of microseconds, then asleep.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mvf {

inline void PauseCpu() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class WaitWord {
 public:
  uint32_t Load() const { return value_.load(std::memory_order_acquire); }

  void Advance() {
    value_.fetch_add(1);  // Sequentially consistent, as is `sleepers_`: one of the two sides sees the other.
    if (sleepers_.load() == 0) return;
    // A sleeper that has counted itself but does not wait yet holds the mutex.
    { std::lock_guard<std::mutex> lock(mutex_); }
    changed_.notify_all();
  }

  // Returns once the counter is no longer `value`.
  void WaitWhile(uint32_t value) {
    if (SpinWhile(value)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1);
    changed_.wait(lock, [&] { return value_.load() != value; });
    sleepers_.fetch_sub(1);
  }

 private:
  // Longer than two threads of one step drift apart, shorter than anybody notices on a shared machine.
  static constexpr std::chrono::microseconds kSpinTime{50};

  bool SpinWhile(uint32_t value) const {
    if (Load() != value) return true;
    const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
    do {
      for (int i = 0; i < 16; ++i) {
        if (Load() != value) return true;
        PauseCpu();
      }
    } while (std::chrono::steady_clock::now() < deadline);
    return false;
  }

  std::atomic<uint32_t> value_{0};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

// Holds every thread of a team until all have come. One team at a time; usable again at once.
class Barrier {
 public:
  void Arrive(int team) {
    const uint32_t phase = phase_.Load();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == team) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.Advance();
    } else {
      phase_.WaitWhile(phase);
    }
  }

 private:
  std::atomic<int> arrived_{0};
  WaitWord phase_;
};

}  // namespace mvf

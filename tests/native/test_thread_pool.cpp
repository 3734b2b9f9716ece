#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

#include "base/thread_pool.h"
#include "check.h"

namespace mvf {
namespace {

constexpr int kThreads = 3;

TEST(thread_pool, every_thread_runs_once_each_time) {
  ThreadPool pool(kThreads);
  for (int round = 0; round < 500; ++round) {
    std::array<int, kThreads> runs{};
    ThreadPool::Lease lease(pool);
    CHECK(lease.held());
    lease.Run([&](const Team& team) { ++runs.at(static_cast<size_t>(team.index)); });
    for (int count : runs) CHECK_EQUAL(count, 1);
  }
}

TEST(thread_pool, a_lease_knows_its_team) {
  ThreadPool pool(kThreads);
  ThreadPool::Lease lease(pool);
  const int expected = lease.team_size();
  std::atomic<int> wrong{0};
  lease.Run([&](const Team& team) { wrong += team.size != expected; });
  CHECK_EQUAL(expected, kThreads);
  CHECK_EQUAL(wrong.load(), 0);
}

TEST(thread_pool, sync_shows_everybody_what_was_written_before) {
  ThreadPool pool(kThreads);
  constexpr int kRounds = 300;
  std::vector<int> values(kThreads, 0);
  std::atomic<int> wrong{0};
  ThreadPool::Lease lease(pool);
  lease.Run([&](const Team& team) {
    for (int round = 1; round <= kRounds; ++round) {
      values[static_cast<size_t>(team.index)] = round;
      team.Sync();
      for (int i = 0; i < team.size; ++i) wrong += values[static_cast<size_t>(i)] != round;
      team.Sync();
    }
  });
  CHECK_EQUAL(wrong.load(), 0);
}

TEST(thread_pool, a_late_thread_is_waited_for_asleep) {
  ThreadPool pool(2);
  std::atomic<bool> slept{false};
  bool seen = false;
  ThreadPool::Lease lease(pool);
  lease.Run([&](const Team& team) {
    if (team.index == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      slept = true;
    }
    team.Sync();
    if (team.index == 0) seen = slept;
  });
  CHECK(seen);
}

TEST(thread_pool, one_lease_at_a_time) {
  ThreadPool pool(2);
  {
    ThreadPool::Lease first(pool);
    ThreadPool::Lease second(pool);
    CHECK(first.held());
    CHECK(!second.held());
  }
  CHECK(ThreadPool::Lease(pool).held());
}

TEST(thread_pool, one_thread_is_the_caller) {
  ThreadPool pool(1);
  const auto caller = std::this_thread::get_id();
  bool same = false;
  ThreadPool::Lease(pool).Run([&](const Team& team) {
    same = team.size == 1 && std::this_thread::get_id() == caller;
    team.Sync();
  });
  CHECK(same);
}

TEST(thread_pool, idle_workers_use_no_processor_time) {
  ThreadPool pool(kThreads);
  ThreadPool::Lease(pool).Run([](const Team&) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const double seconds = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  CHECK(seconds < 0.05);
}

TEST(thread_pool, shared_pools_are_one_for_each_size) {
  CHECK(&SharedPool(2) == &SharedPool(2));
  CHECK(&SharedPool(2) != &SharedPool(3));
  CHECK_EQUAL(SharedPool(3).size(), 3);
}

// Runs a team in a child of this process; the child's exit status, or -1 where it hangs.
int RunInChild(ThreadPool& pool) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // kills the child, should it hang
    std::array<int, kThreads> runs{};
    ThreadPool::Lease lease(pool);
    if (!lease.held()) _exit(2);
    lease.Run([&](const Team& team) {
      ++runs.at(static_cast<size_t>(team.index));
      team.Sync();
    });
    _exit(runs == std::array<int, kThreads>{1, 1, 1} ? 0 : 3);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(thread_pool, a_forked_child_starts_workers_of_its_own) {
  ThreadPool pool(kThreads);
  ThreadPool::Lease(pool).Run([](const Team&) {});
  CHECK_EQUAL(RunInChild(pool), 0);
  ThreadPool::Lease(pool).Run([](const Team&) {});
}

TEST(thread_pool, a_child_forked_during_a_run_is_not_held_up_by_it) {
  ThreadPool pool(kThreads);
  std::atomic<bool> running{false}, stop{false};
  std::thread other([&] {
    ThreadPool::Lease(pool).Run([&](const Team& team) {
      team.Sync();  // AddressSanitizer's locks are not safe to fork over while a thread starts
      running = true;
      while (!stop) std::this_thread::yield();
    });
  });
  while (!running) std::this_thread::yield();
  const int status = RunInChild(pool);
  stop = true;
  other.join();
  CHECK_EQUAL(status, 0);
}

}  // namespace
}  // namespace mvf

#include <cmath>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "cuda/simt.h"
#include "cuda_emulator.h"

// What a device would hang at, trap at or leave to chance, the emulator shows.
namespace mvf_test {
namespace {

using namespace mvf::cuda;

struct NumbersArgs {
  float* numbers;
};

template <class Kernel>
void RunOne(float* numbers, int threads) {
  Launch<Kernel>({numbers}, {1, threads, 16 * sizeof(float)}, nullptr);
}

struct LonelyBarrier {
  using Args = NumbersArgs;
  static void Run(const Args&) {
    if (ThreadIndex() < kWarp) SyncBlock();
  }
};

TEST(cuda_emulator, a_barrier_that_some_never_reach) {
  CHECK_THROWS(std::logic_error, "that never come", RunOne<LonelyBarrier>(nullptr, 2 * kWarp));
}

struct SplitWarp {
  using Args = NumbersArgs;
  static void Run(const Args&) {
    uint32_t matrices[4];
    if (ThreadIndex() < 16) {
      ShuffleXor(0.0f, 1);
    } else {
      LoadMatrices(matrices, SharedMemory());
    }
  }
};

TEST(cuda_emulator, lanes_that_part) {
  CHECK_THROWS(std::logic_error, "different places", RunOne<SplitWarp>(nullptr, kWarp));
}

struct MisalignedWord {
  using Args = NumbersArgs;
  static void Run(const Args&) { StoreWord(SharedMemory() + 2, 1); }
};

TEST(cuda_emulator, addresses_off_their_multiples) {
  CHECK_THROWS(std::logic_error, "no multiple of 4", RunOne<MisalignedWord>(nullptr, kWarp));
}

// Doubles four numbers by way of shared memory.
template <bool kWaits>
struct Doubling {
  using Args = NumbersArgs;
  static void Run(const Args& args) {
    auto* shared = reinterpret_cast<float*>(SharedMemory());
    const int i = ThreadIndex();
    if (i >= 4) return;
    CopyAsync<4>(shared + i, args.numbers + i, true);
    CommitCopies();
    if (kWaits) WaitCopies<0>();
    args.numbers[i] = 2 * shared[i];
  }
};

TEST(cuda_emulator, copies_that_nobody_waits_for) {
  const std::vector<float> numbers = {1, 2, 3, 4}, doubled = {2, 4, 6, 8};
  for (bool late : {false, true}) {
    SetSchedule({false, late});
    std::vector<float> waited = numbers, hurried = numbers;
    RunOne<Doubling<true>>(waited.data(), kWarp);
    RunOne<Doubling<false>>(hurried.data(), kWarp);
    CHECK(waited == doubled);
    CHECK_EQUAL(std::isnan(hurried[0]), late);
  }
  SetSchedule({});
}

// A warp's first thread tells the other warp's its number.
template <bool kMeets>
struct Telling {
  using Args = NumbersArgs;
  static void Run(const Args& args) {
    auto* shared = reinterpret_cast<float*>(SharedMemory());
    const int warp = ThreadIndex() / kWarp;
    if (ThreadIndex() % kWarp == 0) shared[warp] = static_cast<float>(warp);
    if (kMeets) SyncBlock();
    if (ThreadIndex() % kWarp == 0) args.numbers[warp] = shared[1 - warp];
  }
};

TEST(cuda_emulator, warps_that_race) {
  for (bool last_first : {false, true}) {
    SetSchedule({last_first, false});
    std::vector<float> met(2), raced(2);
    RunOne<Telling<true>>(met.data(), 2 * kWarp);
    RunOne<Telling<false>>(raced.data(), 2 * kWarp);
    CHECK(met == std::vector<float>({1, 0}));
    CHECK(std::isnan(raced[last_first ? 1 : 0]));
  }
  SetSchedule({});
}

}  // namespace
}  // namespace mvf_test

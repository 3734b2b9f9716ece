#include "cuda_emulator.h"

#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "cuda/simt.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace mvf_test {
namespace {

using mvf::cuda::kWarp;
using mvf::cuda::LaunchShape;
using mvf::cuda::emulator::WarpAction;

constexpr size_t kStackBytes = 256 * 1024;
constexpr int kMaxThreads = 1024;

struct Copy {
  void* to;
  const void* from;  // null for zeros
  size_t bytes;
};

void Land(const Copy& copy) {
  copy.from ? std::memcpy(copy.to, copy.from, copy.bytes) : std::memset(copy.to, 0, copy.bytes);
}

enum class Wait { kNothing, kBlock, kWarp, kEver };

struct Fiber {
  std::unique_ptr<char[]> stack;
  ucontext_t context;
  void* fake_stack = nullptr;  // AddressSanitizer's
  Wait wait = Wait::kEver;
  void* operands = nullptr;
  std::vector<Copy> open_group;
  std::deque<std::vector<Copy>> groups;
};

struct Meeting {
  WarpAction act = nullptr;
  int arrived = 0;
};

// One block after another, on the same stacks.
class Machine {
 public:
  void Run(const LaunchShape& shape, const std::function<void()>& thread) {
    if (shape.threads < 1 || shape.threads > kMaxThreads || shape.threads % kWarp != 0) {
      throw std::logic_error("a block of " + std::to_string(shape.threads) + " threads");
    }
    thread_ = &thread;
    threads_ = shape.threads;
    while (fibers_.size() < static_cast<size_t>(threads_)) {
      fibers_.emplace_back().stack.reset(new char[kStackBytes]);
    }
    for (block_ = 0; block_ < shape.blocks; ++block_) RunBlock(shape.shared);
  }

  int thread() const { return running_; }
  int threads() const { return threads_; }
  int64_t block() const { return block_; }
  char* shared() const { return shared_.get(); }
  Schedule schedule;

  void SyncBlock() { Pause(Wait::kBlock); }

  void MeetWarp(void* operands, WarpAction act) {
    Fiber& self = fibers_[static_cast<size_t>(running_)];
    const int warp = running_ / kWarp;
    Meeting& meeting = meetings_[static_cast<size_t>(warp)];
    if (meeting.arrived > 0 && meeting.act != act)
      throw std::logic_error("lanes of a warp meet at different places");
    self.operands = operands;
    meeting.act = act;
    if (++meeting.arrived < kWarp) return Pause(Wait::kWarp);
    void* lanes[kWarp];
    for (int lane = 0; lane < kWarp; ++lane) {
      Fiber& fiber = fibers_[static_cast<size_t>(warp * kWarp + lane)];
      lanes[lane] = fiber.operands;
      fiber.wait = Wait::kNothing;
    }
    meeting.arrived = 0;
    act(lanes);
  }

  void StartCopy(const Copy& copy) {
    if (!schedule.copies_land_late) return Land(copy);
    self().open_group.push_back(copy);
  }
  void CommitCopies() {
    self().groups.push_back(std::move(self().open_group));
    self().open_group.clear();
  }
  void WaitCopies(size_t groups) {
    while (self().groups.size() > groups) {
      for (const Copy& copy : self().groups.front()) Land(copy);
      self().groups.pop_front();
    }
  }

 private:
  Fiber& self() { return fibers_[static_cast<size_t>(running_)]; }

  void RunBlock(size_t shared_bytes) {
    // Exactly as long as asked for, so that AddressSanitizer sees whoever goes beyond.
    shared_.reset(static_cast<char*>(std::malloc(std::max<size_t>(shared_bytes, 1))));
    std::memset(shared_.get(), 0xff, shared_bytes);
    meetings_.assign(static_cast<size_t>(threads_ / kWarp), {});
    for (int i = 0; i < threads_; ++i) Start(fibers_[static_cast<size_t>(i)]);
    while (Turn()) {
    }
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  void Start(Fiber& fiber) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &Machine::Enter, 0);
    fiber.wait = Wait::kNothing;
    fiber.open_group.clear();
    fiber.groups.clear();
  }

  // Resumes every thread that can go on, a warp as far as it gets before the next; false where the block has
  // ended.
  bool Turn() {
    bool progress = false, at_barrier = true, ended = true;
    for (int i = 0; i < threads_ / kWarp && !failure_; ++i) {
      const int warp = schedule.last_thread_first ? threads_ / kWarp - 1 - i : i;
      while (ResumeWarp(warp)) progress = true;
    }
    if (failure_) return false;
    for (int i = 0; i < threads_; ++i) {
      const Wait wait = fibers_[static_cast<size_t>(i)].wait;
      at_barrier = at_barrier && wait == Wait::kBlock;
      ended = ended && wait == Wait::kEver;
    }
    if (at_barrier) {
      for (int i = 0; i < threads_; ++i) fibers_[static_cast<size_t>(i)].wait = Wait::kNothing;
    } else if (!ended && !progress) {
      throw std::logic_error("threads of a block wait for others that never come");
    }
    return !ended;
  }

  // Each lane once; false where none could go on.
  bool ResumeWarp(int warp) {
    bool progress = false;
    for (int i = 0; i < kWarp && !failure_; ++i) {
      running_ = warp * kWarp + (schedule.last_thread_first ? kWarp - 1 - i : i);
      if (self().wait != Wait::kNothing) continue;
      Resume(self());
      progress = true;
    }
    return progress && !failure_;
  }

  static void Enter();

  void Resume(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&host_fake_stack_, fiber.stack.get(), kStackBytes);
#endif
    swapcontext(&host_, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(host_fake_stack_, nullptr, nullptr);
#endif
  }

  void Pause(Wait wait) {
    Fiber& fiber = self();
    fiber.wait = wait;
#if defined(__SANITIZE_ADDRESS__)
    // A fiber that ends gives its fake stack back.
    __sanitizer_start_switch_fiber(wait == Wait::kEver ? nullptr : &fiber.fake_stack, host_stack_,
                                   host_stack_bytes_);
#endif
    swapcontext(&fiber.context, &host_);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber.fake_stack, nullptr, nullptr);
#endif
  }

  void RunThread() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &host_stack_, &host_stack_bytes_);
#endif
    try {
      (*thread_)();
    } catch (...) {
      failure_ = std::current_exception();
    }
    Pause(Wait::kEver);
  }

  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };

  const std::function<void()>* thread_ = nullptr;
  int threads_ = 0;
  int running_ = 0;
  int64_t block_ = 0;
  std::deque<Fiber> fibers_;
  std::vector<Meeting> meetings_;
  std::unique_ptr<char[], Free> shared_;
  std::exception_ptr failure_;
  ucontext_t host_;
#if defined(__SANITIZE_ADDRESS__)
  void* host_fake_stack_ = nullptr;
  const void* host_stack_ = nullptr;
  size_t host_stack_bytes_ = 0;
#endif
};

Machine& TheMachine() {
  static Machine machine;
  return machine;
}

void Machine::Enter() { TheMachine().RunThread(); }

bool capturing = false;
std::vector<std::function<void()>> captured;

}  // namespace

void SetSchedule(const Schedule& schedule) { TheMachine().schedule = schedule; }

void BeginCapture() {
  capturing = true;
  captured.clear();
}

std::vector<std::function<void()>> EndCapture() {
  capturing = false;
  return std::move(captured);
}

}  // namespace mvf_test

namespace mvf::cuda::emulator {

using mvf_test::TheMachine;

int ThreadIndex() { return TheMachine().thread(); }
int BlockThreads() { return TheMachine().threads(); }
int64_t BlockIndex() { return TheMachine().block(); }
char* SharedMemory() { return TheMachine().shared(); }
void SyncBlock() { TheMachine().SyncBlock(); }
void MeetWarp(void* operands, WarpAction act) { TheMachine().MeetWarp(operands, act); }
void CommitCopies() { TheMachine().CommitCopies(); }
void WaitCopies(int groups) { TheMachine().WaitCopies(static_cast<size_t>(groups)); }

void CheckAligned(const void* address, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) {
    throw std::logic_error("an address that is no multiple of " + std::to_string(bytes));
  }
}

void CopyAsync(void* to, const void* from, size_t bytes, bool there) {
  CheckAligned(to, bytes);
  CheckAligned(from, bytes);
  TheMachine().StartCopy({to, there ? from : nullptr, bytes});
}

void RunGrid(const LaunchShape& shape, Stream, std::function<void()> thread) {
  const auto run = [shape, thread = std::move(thread)] { TheMachine().Run(shape, thread); };
  if (mvf_test::capturing) {
    mvf_test::captured.emplace_back(run);
  } else {
    run();
  }
}

void Shuffle(void* const* lanes) {
  for (int lane = 0; lane < kWarp; ++lane) {
    auto* shuffled = static_cast<Shuffled*>(lanes[lane]);
    if (shuffled->from < 0 || shuffled->from >= kWarp) throw std::logic_error("a shuffle from no lane");
    shuffled->result = static_cast<const Shuffled*>(lanes[shuffled->from])->bits;
  }
}

// PTX ISA, ldmatrix.
void LoadMatrixRows(void* const* lanes) {
  const auto at = [&](int lane) { return static_cast<const MatrixRow*>(lanes[lane]); };
  for (int matrix = 0; matrix < at(0)->count; ++matrix) {
    uint16_t elements[8][8];
    for (int row = 0; row < 8; ++row) {
      const void* from = at(matrix * 8 + row)->row;
      CheckAligned(from, 16);
      std::memcpy(elements[row], from, 16);
    }
    for (int lane = 0; lane < kWarp; ++lane) {
      const int row = lane / 4, column = lane % 4 * 2;
      const bool transposed = at(lane)->transposed;
      const uint32_t low = transposed ? elements[column][row] : elements[row][column];
      const uint32_t high = transposed ? elements[column + 1][row] : elements[row][column + 1];
      at(lane)->to[matrix] = low | high << 16;
    }
  }
}

// The sums' fragment is the same whatever the depth.
template <int kDepth>
void AddToSums(void* const* lanes, const double (&a)[16][kDepth], const double (&b)[kDepth][8]) {
  for (int i = 0; i < 16 * 8; ++i) {
    const int row = i / 8, column = i % 8;
    const auto* lane = static_cast<const Fragments*>(lanes[row % 8 * 4 + column / 2]);
    float& sum = lane->sums[row / 8 * 2 + column % 2];
    double products = sum;
    for (int k = 0; k < kDepth; ++k) products += a[row][k] * b[k][column];
    sum = static_cast<float>(products);
  }
}

// PTX ISA, mma.m16n8k16 with 16-bit floats: which lane holds which element of a, b and the sums.
template <class Element>
void MultiplyAll(void* const* lanes) {
  const auto at = [&](int lane) { return static_cast<const Fragments*>(lanes[lane]); };
  const auto element = [](uint32_t pair, int half) {
    return static_cast<double>(ToFloat(Element{static_cast<uint16_t>(pair >> (16 * half))}));
  };
  double a[16][16], b[16][8];
  for (int k = 0; k < 16; ++k) {
    for (int row = 0; row < 16; ++row) {
      a[row][k] = element(at(row % 8 * 4 + k % 8 / 2)->a[row / 8 + 2 * (k / 8)], k % 2);
    }
    for (int column = 0; column < 8; ++column) {
      b[k][column] = element(at(column * 4 + k % 8 / 2)->b[k / 8], k % 2);
    }
  }
  AddToSums(lanes, a, b);
}

// PTX ISA, mma.m16n8k8 with TF32. What the device makes of bits that TF32 lacks is undefined.
template <>
void MultiplyAll<Tf32>(void* const* lanes) {
  const auto at = [&](int lane) { return static_cast<const Fragments*>(lanes[lane]); };
  const auto element = [](uint32_t bits) {
    if (bits & 0x1fffu) throw std::logic_error("a product of floats that were not rounded to TF32");
    return static_cast<double>(FloatOf(bits));
  };
  double a[16][8], b[8][8];
  for (int k = 0; k < 8; ++k) {
    for (int row = 0; row < 16; ++row) a[row][k] = element(at(row % 8 * 4 + k % 4)->a[row / 8 + 2 * (k / 4)]);
    for (int column = 0; column < 8; ++column) b[k][column] = element(at(column * 4 + k % 4)->b[k / 4]);
  }
  AddToSums(lanes, a, b);
}
template void MultiplyAll<Half>(void* const*);
template void MultiplyAll<Bf16>(void* const*);

// PTX ISA, mma.m16n8k32 with bytes.
template <class Signs>
void MultiplyAllBytes(void* const* lanes) {
  constexpr bool kSignedA = std::is_same_v<Signs, SignedByUnsigned>;
  const auto at = [&](int lane) { return static_cast<const ByteFragments*>(lanes[lane]); };
  const auto byte = [](uint32_t quad, int i, bool is_signed) {
    const auto bits = static_cast<uint8_t>(quad >> (8 * i));
    return is_signed ? int32_t{static_cast<int8_t>(bits)} : int32_t{bits};
  };
  int32_t a[16][32], b[32][8];
  for (int k = 0; k < 32; ++k) {
    for (int row = 0; row < 16; ++row) {
      a[row][k] = byte(at(row % 8 * 4 + k % 16 / 4)->a[row / 8 + 2 * (k / 16)], k % 4, kSignedA);
    }
    for (int column = 0; column < 8; ++column) {
      b[k][column] = byte(at(column * 4 + k % 16 / 4)->b[k / 16], k % 4, !kSignedA);
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      int32_t& sum = at(row % 8 * 4 + column / 2)->sums[row / 8 * 2 + column % 2];
      int32_t products = 0;
      for (int k = 0; k < 32; ++k) products += a[row][k] * b[k][column];
      sum = static_cast<int32_t>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(products));
    }
  }
}
template void MultiplyAllBytes<UnsignedBySigned>(void* const*);
template void MultiplyAllBytes<SignedByUnsigned>(void* const*);

}  // namespace mvf::cuda::emulator

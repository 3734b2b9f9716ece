#include "base/memory.h"

#include <atomic>
#include <cstdlib>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace mvf {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t PhysicalMemory() {
#if defined(__linux__)
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
  if (pages > 0 && page > 0) return static_cast<size_t>(pages) * static_cast<size_t>(page);
#endif
  return PTRDIFF_MAX;
}

[[noreturn]] void Refuse(size_t bytes, const char* purpose) {
  throw OutOfMemory("cannot allocate " + std::to_string(bytes) + " bytes for " + purpose +
                    "; use smaller images or batches");
}

[[noreturn]] void RefuseSize() {
  throw OutOfMemory("the sizes given need more memory than can be addressed; use smaller images or batches");
}

}  // namespace

size_t CheckedProduct(size_t a, size_t b) {
  size_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) RefuseSize();
  return product;
}

size_t CheckedSum(size_t a, size_t b) {
  size_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) RefuseSize();
  return sum;
}

void CheckAffordable(size_t bytes, const char* purpose) {
  if (bytes > PhysicalMemory()) Refuse(bytes, purpose);
}

void AlignedBuffer::Reserve(size_t bytes, const char* purpose) {
  if (bytes <= size_) return;
  CheckAffordable(bytes, purpose);
  size_ = 0;
  // A child that another thread forks while the memory is freed finds none, and not the size of what was.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  data_.reset();
  const size_t alignment = bytes >= kHugePage ? kHugePage : kCacheLine;
  const size_t rounded = RoundUp(bytes, kCacheLine);
  void* data = nullptr;
  if (posix_memalign(&data, alignment, rounded) != 0) Refuse(bytes, purpose);
  data_.reset(static_cast<std::byte*>(data));
  std::atomic_signal_fence(std::memory_order_seq_cst);
  size_ = rounded;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  // A wish: without it the memory works all the same.
  if (rounded >= kHugePage) (void)madvise(data, rounded / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
}

void AlignedBuffer::Free::operator()(std::byte* data) const { std::free(data); }

}  // namespace mvf

#include "engine/program_cache.h"

#include <mutex>

#include "base/thread_pool.h"

namespace mvf {

std::shared_ptr<const Program> ProgramCache::Find(int64_t height, int64_t width) {
  std::lock_guard<std::mutex> lock(ForkSafeMutex());
  for (auto place = programs_.begin(); place != programs_.end(); ++place) {
    if ((*place)->height != height || (*place)->width != width) continue;
    programs_.splice(programs_.begin(), programs_, place);
    return programs_.front();
  }
  return nullptr;
}

void ProgramCache::Insert(std::shared_ptr<const Program> program) {
  std::lock_guard<std::mutex> lock(ForkSafeMutex());
  programs_.push_front(std::move(program));
  if (programs_.size() > kCapacity) programs_.pop_back();
}

}  // namespace mvf

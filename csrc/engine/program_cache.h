// The programs of the image sizes that were used last.
#pragma once

#include <list>
#include <memory>

#include "engine/program.h"

namespace mvf {

class ProgramCache {
 public:
  // Null where that size is not among the last `kCapacity`.
  std::shared_ptr<const Program> Find(int64_t height, int64_t width);
  void Insert(std::shared_ptr<const Program> program);

 private:
  static constexpr size_t kCapacity = 16;

  std::list<std::shared_ptr<const Program>> programs_;  // latest first, under ForkSafeMutex
};

}  // namespace mvf

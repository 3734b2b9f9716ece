#include "base/cpu_count.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace mvf {
namespace {

double Tighter(double quota, double other) {
  if (quota == 0) return other;
  return other == 0 ? quota : std::min(quota, other);
}

// Version 2: "QUOTA PERIOD" or "max PERIOD".
double ReadCpuMax(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  double quota = 0, period = 0;
  return file >> quota >> period && quota > 0 && period > 0 ? quota / period : 0;
}

// Version 1: a quota of -1 is none.
double ReadCfsQuota(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  return quota_file >> quota && period_file >> period && quota > 0 && period > 0 ? quota / period : 0;
}

// The tightest quota of a group and the groups around it. A path that is not below `mount` (a container sees
// its host's path) still reads the mount itself.
template <class Read>
double TightestUpwards(const std::string& mount, std::string path, Read&& read) {
  double quota = read(mount);
  if (path.empty() || path[0] != '/') return quota;
  while (path.size() > 1) {
    quota = Tighter(quota, read(mount + path));
    path.erase(path.find_last_of('/'));
  }
  return quota;
}

bool HasWord(const std::string& comma_separated, const std::string& word) {
  std::istringstream words(comma_separated);
  for (std::string item; std::getline(words, item, ',');) {
    if (item == word) return true;
  }
  return false;
}

#if defined(__linux__)
// Distinct cores that the affinity mask reaches, or 0 where it cannot be read.
int CoresInAffinityMask() {
  constexpr int kMaskBits = 8192;
  cpu_set_t mask[kMaskBits / CPU_SETSIZE];
  if (sched_getaffinity(0, sizeof(mask), mask) != 0) return 0;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < kMaskBits; ++cpu) {
    if (!CPU_ISSET_S(cpu, sizeof(mask), mask)) continue;
    const std::string number = std::to_string(cpu);
    std::ifstream file("/sys/devices/system/cpu/cpu" + number + "/topology/thread_siblings_list");
    std::string siblings;
    cores.insert(std::getline(file, siblings) ? siblings : "cpu" + number);
  }
  return static_cast<int>(cores.size());
}
#else
int CoresInAffinityMask() { return static_cast<int>(std::thread::hardware_concurrency()); }
#endif

}  // namespace

double CgroupCpuQuota(const std::string& root) {
  std::ifstream groups(root + "/proc/self/cgroup");
  double quota = 0;
  for (std::string line; std::getline(groups, line);) {
    // "ID:CONTROLLERS:PATH"; version 2 has ID 0 and no controllers.
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1),
                      path = line.substr(second + 1);
    if (controllers.empty()) {
      quota = Tighter(quota, TightestUpwards(root + "/sys/fs/cgroup", path, ReadCpuMax));
    } else if (HasWord(controllers, "cpu")) {
      quota = Tighter(quota, TightestUpwards(root + "/sys/fs/cgroup/" + controllers, path, ReadCfsQuota));
      quota = Tighter(quota, TightestUpwards(root + "/sys/fs/cgroup/cpu", path, ReadCfsQuota));
    }
  }
  return quota;
}

int DefaultThreads() {
  int threads = std::max(1, CoresInAffinityMask());
  const double quota = CgroupCpuQuota("");
  if (quota > 0) threads = std::min(threads, static_cast<int>(std::ceil(quota)));
  return std::clamp(threads, 1, kMaxThreads);
}

}  // namespace mvf

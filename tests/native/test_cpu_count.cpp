#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/cpu_count.h"
#include "check.h"

namespace mvf {
namespace {

// A tree that stands for "/", removed with it.
class FakeRoot {
 public:
  FakeRoot() {
    std::string pattern = (std::filesystem::temp_directory_path() / "mvf_root_XXXXXX").string();
    CHECK(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~FakeRoot() { std::filesystem::remove_all(path_); }

  void Write(const std::string& file, const std::string& text) const {
    const std::filesystem::path place = path_ / file;
    std::filesystem::create_directories(place.parent_path());
    std::ofstream(place) << text;
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

TEST(cpu_count, no_control_groups_are_no_quota) {
  const FakeRoot root;
  CHECK_EQUAL(CgroupCpuQuota(root.path()), 0.0);
}

TEST(cpu_count, version_2_takes_the_tightest_of_a_group_and_those_around_it) {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "0::/slice/service\n");
  root.Write("sys/fs/cgroup/slice/service/cpu.max", "max 100000\n");
  CHECK_EQUAL(CgroupCpuQuota(root.path()), 0.0);
  root.Write("sys/fs/cgroup/slice/cpu.max", "250000 100000\n");
  CHECK_EQUAL(CgroupCpuQuota(root.path()), 2.5);
  root.Write("sys/fs/cgroup/slice/service/cpu.max", "150000 100000\n");
  CHECK_EQUAL(CgroupCpuQuota(root.path()), 1.5);
}

TEST(cpu_count, version_2_inside_a_container_reads_the_mount_itself) {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "0::/docker/0123\n");  // the host's path, which is not here
  root.Write("sys/fs/cgroup/cpu.max", "300000 100000\n");
  CHECK_EQUAL(CgroupCpuQuota(root.path()), 3.0);
}

TEST(cpu_count, version_1_reads_the_cpu_controller) {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "5:memory:/box\n4:cpu,cpuacct:/box\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
  CHECK_EQUAL(CgroupCpuQuota(root.path()), 0.0);
  root.Write("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "50000\n");
  CHECK_EQUAL(CgroupCpuQuota(root.path()), 0.5);
}

TEST(cpu_count, nonsense_is_no_quota) {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "nonsense\n0:\n0::no/slash\n0::\n");
  root.Write("sys/fs/cgroup/cpu.max", "many often\n");
  CHECK_EQUAL(CgroupCpuQuota(root.path()), 0.0);
}

TEST(cpu_count, default_is_a_possible_thread_count) {
  CHECK(DefaultThreads() >= 1);
  CHECK(DefaultThreads() <= kMaxThreads);
}

}  // namespace
}  // namespace mvf

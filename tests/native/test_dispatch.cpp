#include <cstdlib>
#include <stdexcept>
#include <string>

#include "base/isa.h"
#include "check.h"
#include "kernels/dispatch.h"

namespace mvf {
namespace {

// MOBILEVIT_FAST_ISA for the length of a scope.
class Cap {
 public:
  explicit Cap(const char* name) : before_(std::getenv(kName) ? std::getenv(kName) : "") {
    setenv(kName, name, 1);
  }
  ~Cap() { before_.empty() ? unsetenv(kName) : setenv(kName, before_.c_str(), 1); }

 private:
  static constexpr const char* kName = "MOBILEVIT_FAST_ISA";
  std::string before_;
};

void CheckKernels(const KernelTable& table) {
  CHECK(table.linear_packing.packed_bytes && table.linear_packing.pack && table.linear.run);
  CHECK(table.ffn_packing.pack && table.ffn.run);
  CHECK(table.conv3x3_packing.pack && table.conv3x3.run && table.stem_packing.pack && table.stem.run);
  CHECK(table.dwconv3x3_packing.pack && table.dwconv3x3.run);
  CHECK(table.inverted_residual_packing.pack && table.inverted_residual.run);
  CHECK(table.attention.run && table.layer_norm.run && table.resize.run && table.global_pool.run);
  CHECK(table.softmax.run);
}

TEST(dispatch, tables_have_their_names_and_every_kernel) {
  CHECK_EQUAL(std::string(RunnableTables().front()->name), "scalar");
  for (Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kFp16}) {
    for (const KernelTable* table : RunnableTables(precision)) {
      CHECK(&TableByName(table->name, precision) == table);
      CHECK(table->element == ElementOf(precision));
      CheckKernels(*table);
    }
  }
}

TEST(dispatch, what_lacks_halves_says_so) {
  if (!RunnableTables(Precision::kFp16).empty()) return;
  CHECK_THROWS(std::invalid_argument, "no kernels for fp16 can run here", BestTable(Precision::kFp16));
}

TEST(dispatch, the_environment_caps_the_choice) {
  const Cap cap("scalar");
  CHECK_EQUAL(RunnableTables().size(), 1u);
  CHECK_EQUAL(std::string(BestTable().name), "scalar");
#if defined(__x86_64__)
  if (CpuHas("avx2")) CHECK_THROWS(std::invalid_argument, "cap", TableByName("avx2"));
#endif
}

TEST(dispatch, an_empty_cap_is_none) {
  const size_t all = RunnableTables().size();
  const Cap cap("");
  CHECK_EQUAL(RunnableTables().size(), all);
}

TEST(dispatch, unknown_names_are_refused_with_the_known_ones) {
  CHECK_THROWS(std::invalid_argument, "scalar", TableByName("sse9"));
  const Cap cap("sse9");
  CHECK_THROWS(std::invalid_argument, "MOBILEVIT_FAST_ISA='sse9'", RunnableTables());
}

TEST(dispatch, features_that_do_not_exist_are_not_had) { CHECK(!CpuHas("sse9")); }

}  // namespace
}  // namespace mvf

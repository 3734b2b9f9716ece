// Runs the suites and tests ("suite" or "suite.name") that the command line names, or all.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "check.h"

int main(int argc, char** argv) {
  const std::vector<std::string> wanted(argv + 1, argv + argc);
  const auto names = [&](const std::string& name) {
    return std::find(wanted.begin(), wanted.end(), name) != wanted.end();
  };
  int run = 0, failed = 0;
  for (const mvf_test::Test& test : mvf_test::AllTests()) {
    const std::string name = test.suite + "." + test.name;
    if (!wanted.empty() && !names(test.suite) && !names(name)) continue;
    ++run;
    try {
      test.body();
    } catch (const std::exception& error) {
      ++failed;
      std::fprintf(stderr, "FAILED %s\n  %s\n", name.c_str(), error.what());
    }
  }
  std::printf("%d tests, %d failed\n", run, failed);
  return run == 0 || failed > 0 ? 1 : 0;
}

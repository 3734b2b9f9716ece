// A test harness of a few lines: TEST(suite, name) { CHECK(...); }
#pragma once

#include <exception>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace mvf_test {

struct Test {
  std::string suite;
  std::string name;
  std::function<void()> body;
};

inline std::vector<Test>& AllTests() {
  static std::vector<Test> tests;
  return tests;
}

struct Registration {
  Registration(const char* suite, const char* name, std::function<void()> body) {
    AllTests().push_back({suite, name, std::move(body)});
  }
};

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void Fail(const char* file, int line, const std::string& what) {
  throw Failure(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

// What the exception of that type says; fails where there is none.
template <class Exception, class Function>
std::string MessageOf(const char* file, int line, Function&& function) {
  try {
    function();
  } catch (const Exception& error) {
    return error.what();
  }
  Fail(file, line, "nothing was thrown");
  return {};
}

}  // namespace mvf_test

#define TEST(suite, name)                                                                           \
  static void suite##_##name();                                                                     \
  static const mvf_test::Registration registration_##suite##_##name(#suite, #name, suite##_##name); \
  static void suite##_##name()

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) mvf_test::Fail(__FILE__, __LINE__, #condition); \
  } while (false)

#define CHECK_EQUAL(actual, expected)                                               \
  do {                                                                              \
    const auto& actual_value = (actual);                                            \
    const auto& expected_value = (expected);                                        \
    if (!(actual_value == expected_value)) {                                        \
      std::ostringstream text;                                                      \
      text << #actual << " is " << actual_value << ", expected " << expected_value; \
      mvf_test::Fail(__FILE__, __LINE__, text.str());                               \
    }                                                                               \
  } while (false)

#define CHECK_THROWS(exception, words, ...)                                                            \
  do {                                                                                                 \
    const std::string said = mvf_test::MessageOf<exception>(__FILE__, __LINE__, [&] { __VA_ARGS__; }); \
    if (said.find(words) == std::string::npos) {                                                       \
      mvf_test::Fail(__FILE__, __LINE__, "it said \"" + said + "\", without \"" + (words) + "\"");     \
    }                                                                                                  \
  } while (false)

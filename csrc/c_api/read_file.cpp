#include "c_api/read_file.h"

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "base/memory.h"

namespace mvf {
namespace {

[[noreturn]] void Unreadable(const char* path, const char* reason) {
  throw std::invalid_argument("cannot read '" + std::string(path).substr(0, 300) + "': " + reason);
}

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

std::vector<std::byte> ReadFile(const char* path) {
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path, "rb"));
  if (!file || std::fseek(file.get(), 0, SEEK_END) != 0) Unreadable(path, std::strerror(errno));
  const long size = std::ftell(file.get());
  if (size < 0 || std::fseek(file.get(), 0, SEEK_SET) != 0) Unreadable(path, std::strerror(errno));
  if (size == LONG_MAX) Unreadable(path, "it is a folder");
  CheckAffordable(static_cast<size_t>(size), "the model file");
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  errno = 0;
  if (std::fread(bytes.data(), 1, bytes.size(), file.get()) != bytes.size()) {
    Unreadable(path, errno != 0 ? std::strerror(errno) : "it became shorter while it was read");
  }
  return bytes;
}

}  // namespace mvf

#pragma once

#include <cstddef>
#include <vector>

namespace mvf {

// All bytes of a file. Throws std::invalid_argument, with the system's reason, for one that cannot be read.
std::vector<std::byte> ReadFile(const char* path);

}  // namespace mvf

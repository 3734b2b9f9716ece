#pragma once

#include <cstdint>
#include <vector>

namespace mvf {

// Sizes of an array's dimensions, the slowest first.
using Shape = std::vector<int64_t>;

}  // namespace mvf

// How launches are described.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mvf::cuda {

using Stream = void*;  // a cudaStream_t

// Threads are numbered along x alone; `shared` is in bytes, of `shared_limit` that a block may have.
struct LaunchShape {
  int64_t blocks = 1;
  int threads = 32;
  size_t shared = 0;
  size_t shared_limit = 0;
};

constexpr int kWarp = 32;

// Which bytes of a product are signed: of a * b, b alone, or a alone.
struct UnsignedBySigned {};
struct SignedByUnsigned {};

}  // namespace mvf::cuda

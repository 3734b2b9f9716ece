// csrc/cuda/device.h on a host, for the emulator: memory that begins as NaNs, graphs that keep launches.
#pragma once

#include <cstddef>

namespace mvf_test {

// What IsCapturing answers from now on.
void PretendCapturing(bool capturing);

// What devices say of themselves from now on: the whole part of their compute capability.
void PretendCapability(int major);

// Bytes in buffers that are alive.
size_t DeviceBytesInUse();

}  // namespace mvf_test

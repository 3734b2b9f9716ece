// What a kernel asks of the machine: its place in the grid, barriers, exchanges within a warp, copies that
// run on their own, products of small matrices. nvcc makes them the device's instructions; for any other
// compiler they are calls of an emulator (tests/native/cuda_emulator.cpp), which runs the very same kernels
// on a host.
#pragma once

#include <cmath>

#include "base/view.h"
#include "cuda/simt_types.h"

#if defined(__CUDACC__)
#include "cuda/simt_device.h"
#else
#include "cuda/simt_emulated.h"
#endif

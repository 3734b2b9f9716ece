// Hands a map out the way callers expect it: float, channels first.
#pragma once

#include "base/view.h"

namespace mvf {

// output[c, y, x] = map[y, x, c], dense.
void WritePlanar(const Map& map, DType type, float* output);

}  // namespace mvf

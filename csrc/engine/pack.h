// Packs one operation's weights outside a plan.
#pragma once

#include "base/memory.h"
#include "kernels/kernel_table.h"

namespace mvf {

template <class Shape, class Weights>
AlignedBuffer Pack(const Packing<Shape, Weights>& packing, const Shape& shape, const Weights& weights) {
  AlignedBuffer packed(packing.packed_bytes(shape), "packed weights");
  packing.pack(shape, weights, packed.data());
  return packed;
}

}  // namespace mvf

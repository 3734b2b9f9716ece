// Attention and its backward pass as loops in double.
#pragma once

#include <vector>

#include "kernels/training_kernels.h"

namespace mvf_test {

// The row becomes exp(x) over the sum of all exp(x).
void PlainSoftmax(std::vector<double>& row);

void PlainAttention(const mvf::AttentionArgs& args, mvf::Range units, void* scratch);
void PlainAttentionBackward(const mvf::AttentionBackwardArgs& args, mvf::Range units, void* scratch);

}  // namespace mvf_test

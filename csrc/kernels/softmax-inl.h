// Softmax over rows of logits.
#pragma once

namespace mvf {
namespace {

template <class Dot>
size_t SoftmaxScratchBytes(const SoftmaxArgs&) {
  return 0;
}

template <class Dot>
void SoftmaxRun(const SoftmaxArgs& args, Range rows, void*) {
  for (int64_t m = rows.begin; m < rows.end; ++m) {
    const float* from = args.input + m * args.input_stride;
    float* to = args.output + m * args.output_stride;
    Vec largest = Vec::Set(from[0]);
    ForEachVector(0, args.columns, [&](int64_t c, auto lanes) {
      largest = Max(largest, lanes.Fill(lanes.Load(from + c), from[0]));
    });
    const Vec shift = Vec::Set(ReduceMax(largest));
    Vec sum = Vec::Zero();
    ForEachVector(0, args.columns, [&](int64_t c, auto lanes) {
      const Vec e = Exp2OfNegative(Mul(Sub(lanes.Load(from + c), shift), Vec::Set(kLog2E)));
      lanes.Store(e, to + c);
      sum = Add(sum, lanes.Fill(e, 0.0f));
    });
    const Vec scale = Vec::Set(1.0f / ReduceAdd(sum));
    ForEachVector(0, args.columns,
                  [&](int64_t c, auto lanes) { lanes.Store(Mul(lanes.Load(to + c), scale), to + c); });
  }
}

}  // namespace
}  // namespace mvf

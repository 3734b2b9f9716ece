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
    Floats largest = Floats::Set(from[0]);
    ForEachVector<Floats>(0, args.columns, [&](int64_t c, auto lanes) {
      largest = Max(largest, lanes.Fill(lanes.Load(from + c), from[0]));
    });
    const Floats shift = Floats::Set(ReduceMax(largest));
    Floats sum = Floats::Zero();
    ForEachVector<Floats>(0, args.columns, [&](int64_t c, auto lanes) {
      const Floats e = Exp2OfNegative(Mul(Sub(lanes.Load(from + c), shift), Floats::Set(kLog2E)));
      lanes.Store(e, to + c);
      sum = Add(sum, lanes.Fill(e, 0.0f));
    });
    const Floats scale = Floats::Set(1.0f / ReduceAdd(sum));
    ForEachVector<Floats>(
        0, args.columns, [&](int64_t c, auto lanes) { lanes.Store(Mul(lanes.Load(to + c), scale), to + c); });
  }
}

}  // namespace
}  // namespace mvf

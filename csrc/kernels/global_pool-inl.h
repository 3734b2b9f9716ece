// Global average pool: each channel's mean over a map.
#pragma once

namespace mvf {
namespace {

template <class Dot>
size_t GlobalPoolScratchBytes(const GlobalPoolArgs&) {
  return 0;
}

// One vector of channels; four pixels at a time, since one chain of additions would wait for itself.
template <class Element, class Lanes>
MVF_INLINE Floats SumOverPixels(const Map& input, int64_t channel, Lanes lanes) {
  constexpr int kChains = 4;
  Floats sum[kChains] = {Floats::Zero(), Floats::Zero(), Floats::Zero(), Floats::Zero()};
  for (int64_t y = 0; y < input.height; ++y) {
    const Element* row = input.Row<Element>(y) + channel;
    int64_t x = 0;
    for (; x + kChains <= input.width; x += kChains) {
      for (int i = 0; i < kChains; ++i) sum[i] = Add(sum[i], lanes.Load(row + (x + i) * input.pixel_stride));
    }
    for (; x < input.width; ++x) sum[0] = Add(sum[0], lanes.Load(row + x * input.pixel_stride));
  }
  return Add(Add(sum[0], sum[1]), Add(sum[2], sum[3]));
}

template <class Element, class Out>
void GlobalPoolChannels(const Map& input, Range channels, Out* output) {
  const Floats scale = Floats::Set(1.0f / static_cast<float>(input.height * input.width));
  ForEachVector<Floats>(channels.begin, channels.end, [&](int64_t c, auto lanes) {
    lanes.Store(Mul(SumOverPixels<Element>(input, c, lanes), scale), output + c);
  });
}

template <class Dot>
void GlobalPoolRun(const GlobalPoolArgs& args, Range channels, void*) {
  using Element = typename Dot::Element;
  if (args.float_output) {
    GlobalPoolChannels<Element>(args.input, channels, static_cast<float*>(args.output));
  } else {
    GlobalPoolChannels<Element>(args.input, channels, static_cast<Element*>(args.output));
  }
}

}  // namespace
}  // namespace mvf

// Bilinear resize with half-pixel centres and clamped edges: torch's interpolate(align_corners=False).
#pragma once

namespace mvf {
namespace {

// The two input positions that an output position lies between, and the second one's weight.
struct Blend {
  int64_t first;
  int64_t second;
  float weight;
};

// In float, as torch computes it.
inline Blend BlendAt(int64_t position, int64_t in_size, int64_t out_size) {
  if (in_size == out_size) return {position, position, 0.0f};
  const float scale = static_cast<float>(in_size) / static_cast<float>(out_size);
  const float centre = scale * (static_cast<float>(position) + 0.5f) - 0.5f;
  const float source = centre > 0.0f ? centre : 0.0f;
  const int64_t first = Min(static_cast<int64_t>(source), in_size - 1);
  const int64_t second = Min(first + 1, in_size - 1);
  const float weight = source - static_cast<float>(first);
  return {first, second, weight < 1.0f ? weight : 1.0f};
}

template <class Element>
void ResizeRows(const Map& input, const Map& output, Range rows) {
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    const Blend vertical = BlendAt(y, input.height, output.height);
    const Floats lower = Floats::Set(vertical.weight), upper = Floats::Set(1.0f - vertical.weight);
    for (int64_t x = 0; x < output.width; ++x) {
      const Blend horizontal = BlendAt(x, input.width, output.width);
      const Floats right = Floats::Set(horizontal.weight), left = Floats::Set(1.0f - horizontal.weight);
      const Element* upper_left = input.Pixel<Element>(vertical.first, horizontal.first);
      const Element* upper_right = input.Pixel<Element>(vertical.first, horizontal.second);
      const Element* lower_left = input.Pixel<Element>(vertical.second, horizontal.first);
      const Element* lower_right = input.Pixel<Element>(vertical.second, horizontal.second);
      Element* to = output.Pixel<Element>(y, x);
      ForEachVector<Floats>(0, output.channels, [&](int64_t c, auto lanes) {
        const Floats above =
            MulAdd(left, lanes.Load(upper_left + c), Mul(right, lanes.Load(upper_right + c)));
        const Floats below =
            MulAdd(left, lanes.Load(lower_left + c), Mul(right, lanes.Load(lower_right + c)));
        lanes.Store(MulAdd(upper, above, Mul(lower, below)), to + c);
      });
    }
  }
}

template <class Dot>
size_t ResizeScratchBytes(const ResizeArgs&) {
  return 0;
}

template <class Dot>
void ResizeRun(const ResizeArgs& args, Range rows, void*) {
  if (args.type == DType::kF32) {
    ResizeRows<float>(args.input, args.output, rows);
  } else {
    ResizeRows<typename Dot::Element>(args.input, args.output, rows);
  }
}

}  // namespace
}  // namespace mvf

// The gradient of a dense 3x3 convolution's weight. Where input rows lie behind one another with a pixel of
// zeros at either side, a row of the kernel sees 3 * channels neighbouring floats, so that its part of the
// gradient is a sum of outer products whose rows overlap; im2col never exists.
#pragma once

namespace mvf {
namespace {

// At stride 1 rows of gradients get two pixels of zeros as well: then pixels of a whole band lie evenly on
// both sides. At stride 2 each row is multiplied by itself.
struct ConvGradientBand {
  int64_t rows;                     // of the output
  int64_t input_row, upstream_row;  // floats
  int64_t upstream_slots, slots;

  explicit ConvGradientBand(const Conv3x3WeightGradientArgs& args) {
    constexpr int64_t kBytes = 256 * 1024;
    const int64_t width = ConvolvedSize(args.width, args.stride);
    input_row = (args.stride * width + 2) * args.in;
    upstream_row = (width + 2) * args.out;
    const int64_t bytes = (args.stride * input_row + upstream_row) * int64_t{sizeof(float)};
    rows = Min(Max(kBytes / bytes, 1), ConvolvedSize(args.height, args.stride));
    upstream_slots = RoundUp(rows * upstream_row, kAlignment / int64_t{sizeof(float)});
    slots = upstream_slots + (args.stride * (rows - 1) + 3) * input_row;
  }
};

inline size_t Conv3x3WeightGradientScratchBytes(const Conv3x3WeightGradientArgs& args) {
  return static_cast<size_t>(ConvGradientBand(args).slots) * sizeof(float);
}

// Input row y, which may lie outside the map, between pixels of zeros.
inline void StageConvInput(const Conv3x3WeightGradientArgs& args, const float* image, int64_t y,
                           int64_t row_floats, float* to) {
  if (y < 0 || y >= args.height) return ZeroElements(to, row_floats);
  const int64_t used = (1 + args.width) * args.in;
  ZeroElements(to, args.in);
  __builtin_memcpy(to + args.in, image + y * args.width * args.in,
                   static_cast<size_t>(args.width * args.in) * sizeof(float));
  if (used < row_floats) ZeroElements(to + used, row_floats - used);
}

inline void Conv3x3WeightGradientRun(const Conv3x3WeightGradientArgs& args, Range units, void* scratch) {
  const ConvGradientBand band(args);
  const int64_t height = ConvolvedSize(args.height, args.stride), stride = args.stride;
  const int64_t width = ConvolvedSize(args.width, stride), count = units.end - units.begin;
  float* const upstream = static_cast<float*>(scratch);
  float* const input = upstream + band.upstream_slots;
  const int64_t padded = (width + 2) * count;  // of the channels that these units are
  const Rows<float> gradient = {args.gradient + units.begin * 9 * args.in, 9 * args.in};
  ZeroElements(gradient.data, count * gradient.stride);
  const auto multiply = [&](const float* left, const float* right, int64_t pixels) {
    for (int64_t first = 0; first < pixels; first += kNormBlockRows) {
      for (int64_t i = 0; i < 3; ++i) {
        AddOuterProducts({left + first * count, count}, count,
                         {right + i * band.input_row + first * stride * args.in, stride * args.in},
                         3 * args.in, Min(kNormBlockRows, pixels - first),
                         {gradient.data + i * 3 * args.in, gradient.stride});
      }
    }
  };
  for (int64_t n = 0; n < args.images; ++n) {
    const float* const image = args.input + n * args.height * args.width * args.in;
    const float* const pixels = args.upstream + n * height * width * args.out + units.begin;
    for (int64_t first = 0; first < height; first += band.rows) {
      const int64_t rows = Min(band.rows, height - first);
      for (int64_t i = 0; i < stride * (rows - 1) + 3; ++i) {
        StageConvInput(args, image, stride * first - 1 + i, band.input_row, input + i * band.input_row);
      }
      for (int64_t y = 0; y < rows; ++y) {
        float* const to = upstream + y * padded;
        CopyPixels(pixels + (first + y) * width * args.out, args.out, to, count, width, count);
        ZeroElements(to + width * count, 2 * count);
      }
      if (stride == 1) {
        multiply(upstream, input, rows * (width + 2) - 2);
      } else {
        for (int64_t y = 0; y < rows; ++y)
          multiply(upstream + y * padded, input + 2 * y * band.input_row, width);
      }
    }
  }
}

}  // namespace
}  // namespace mvf

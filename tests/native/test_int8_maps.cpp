// The 8-bit kernels that work on maps, on every table, against plain loops.
#include <cmath>
#include <cstdlib>

#include "check.h"
#include "plain_int8.h"

namespace mvf {
namespace {

using namespace mvf_test;

// A convolution's weights and inputs, and its sums in plain loops.
struct ConvCase {
  ConvCase(Random& random, const Int8Conv3x3Shape& shape, int64_t height, int64_t width, Draw draw)
      : shape(shape),
        height(height),
        width(width),
        first(random.MakeBytes(height * width * shape.in, draw)),
        second(random.MakeBytes(height * width * shape.in_second, draw)),
        weight(random.MakeWeights(shape.out * 9 * (shape.in + shape.in_second), draw)),
        bias(random.MakeInts(shape.out, -3000, 3000)),
        requantization(random, shape.out, 9 * (shape.in + shape.in_second), shape.out % 2 == 1) {}

  int64_t out_height() const { return (height - 1) / shape.stride + 1; }
  int64_t out_width() const { return (width - 1) / shape.stride + 1; }
  Int8Conv3x3Weights weights() const { return {{weight.data(), bias.data()}, requantization.Get()}; }

  Bytes Expected() const {
    Bytes bytes;
    for (int64_t y = 0; y < out_height(); ++y) {
      for (int64_t x = 0; x < out_width(); ++x) {
        for (int64_t n = 0; n < shape.out; ++n) bytes.push_back(requantization.Apply(Sum(y, x, n), n));
      }
    }
    return bytes;
  }

  Int8Conv3x3Shape shape;
  int64_t height, width;
  Bytes first, second;
  Weights weight;
  std::vector<int32_t> bias;
  PlainRequantization requantization;

 private:
  int32_t Sum(int64_t y, int64_t x, int64_t n) const {
    const int64_t channels = shape.in + shape.in_second;
    int64_t sum = bias[static_cast<size_t>(n)];
    for (int64_t tap = 0; tap < 9; ++tap) {
      const int64_t in_y = shape.stride * y + tap / 3 - 1, in_x = shape.stride * x + tap % 3 - 1;
      if (in_y < 0 || in_y >= height || in_x < 0 || in_x >= width) continue;
      const int64_t pixel = in_y * width + in_x;
      const int8_t* w = weight.data() + (9 * n + tap) * channels;
      sum += PlainDot(first.data() + pixel * shape.in, w, shape.in, shape.input_zero);
      sum +=
          PlainDot(second.data() + pixel * shape.in_second, w + shape.in, shape.in_second, shape.second_zero);
    }
    return static_cast<int32_t>(sum);
  }
};

void CheckConv(const ConvCase& c) {
  const Bytes expected = c.Expected();
  const GappedBytes input(c.height, c.width, c.first, c.shape.in);
  const GappedBytes second(c.height, c.width, c.second, c.shape.in_second);
  ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
    const GappedBytes output(c.out_height(), c.out_width(), c.shape.out);
    Int8Conv3x3Args args = {c.shape, nullptr, input.map(), second.map(), output.map()};
    RunPacked(kernels.conv3x3_packing, kernels.conv3x3, args, c.weights(), c.out_height(), parts);
    CHECK(output.Dense() == expected);
    CHECK(output.GapsAreWhole());
    // And where maps are dense.
    Bytes dense(expected.size()), first = c.first, other = c.second;
    args.input = DenseMap(first.data(), c.height, c.width, c.shape.in);
    args.second = DenseMap(other.data(), c.height, c.width, c.shape.in_second);
    args.output = DenseMap(dense.data(), c.out_height(), c.out_width(), c.shape.out);
    RunPacked(kernels.conv3x3_packing, kernels.conv3x3, args, c.weights(), c.out_height(), parts);
    CHECK(dense == expected);
  });
}

TEST(int8_maps, conv3x3_is_exact_at_every_size) {
  Random random;
  for (int64_t size : {1, 2, 7, 9, 17}) {
    for (int64_t in : {1, 3, 8, 21}) {
      for (int64_t in_second : {0, 5, 8}) {
        for (int64_t out : {1, 24, 51}) {
          for (int64_t stride : {1, 2}) {
            CheckConv(ConvCase(random, {in, in_second, out, stride, 113, 37}, size, size + 1, Draw::kRandom));
          }
        }
      }
    }
  }
}

TEST(int8_maps, conv3x3_is_exact_at_its_extremes) {
  Random random;
  for (Draw draw : kDraws) {
    for (int32_t zero : {0, 255}) {
      CheckConv(ConvCase(random, {160, 160, 17, 1, zero, 255 - zero}, 4, 4, draw));
      CheckConv(ConvCase(random, {1279, 0, 3, 1, zero, 0}, 3, 2, draw));
    }
  }
}

TEST(int8_maps, conv3x3_goes_through_many_bands) {
  Random random;
  CheckConv(ConvCase(random, {200, 0, 20, 1, 128, 0}, 61, 40, Draw::kRandom));
  CheckConv(ConvCase(random, {120, 100, 20, 2, 128, 9}, 61, 40, Draw::kRandom));
}

// An image in memory, by rows of pixels or by channels, upright or upside down.
struct ImageCase {
  ImageCase(Random& random, int64_t height, int64_t width, int64_t channels, bool planar, bool flipped)
      : values(random.MakeFloats(height * width * channels, -0.2f, 1.2f)) {
    image = {values.data(),
             channels,
             height,
             width,
             planar ? height * width : 1,
             planar ? width : width * channels,
             planar ? 1 : channels};
    if (!flipped) return;
    image.data += (height - 1) * image.row_stride;
    image.row_stride = -image.row_stride;
  }

  std::vector<float> values;
  Image image;
};

TEST(int8_maps, stem_quantises_images_of_any_strides) {
  Random random;
  for (int64_t channels : {1, 3, 4, 5}) {
    for (int64_t size : {1, 2, 9, 40}) {
      for (int variant = 0; variant < 4; ++variant) {
        const int64_t height = size, width = size + 3, out = 19, stride = size % 2 + 1;
        const ImageCase image(random, height, width, channels, variant % 2 == 0, variant >= 2);
        Int8Conv3x3Shape shape = {channels, 0, out, stride, 11, 0, 1.0f / 233};
        ConvCase c(random, shape, height, width, Draw::kRandom);
        for (int64_t i = 0; i < height * width * channels; ++i) {
          const int64_t y = i / channels / width, x = i / channels % width;
          const float value = image.image.data[i % channels * image.image.channel_stride +
                                               y * image.image.row_stride + x * image.image.column_stride];
          c.first[static_cast<size_t>(i)] = PlainQuantize(value, shape.input_scale, shape.input_zero);
        }
        const Bytes expected = c.Expected();
        ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
          const GappedBytes output(c.out_height(), c.out_width(), out);
          const Int8StemArgs args = {shape, nullptr, image.image, output.map()};
          RunPacked(kernels.stem_packing, kernels.stem, args, c.weights(), c.out_height(), parts);
          CHECK(output.Dense() == expected);
          CHECK(output.GapsAreWhole());
        });
      }
    }
  }
}

TEST(int8_maps, global_pool_is_the_mean) {
  Random random;
  for (int64_t channels : {1, 15, 40}) {
    const Bytes bytes = random.MakeBytes(7 * 9 * channels, Draw::kRandom);
    const GappedBytes input(7, 9, bytes, channels);
    ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
      std::vector<float> output(static_cast<size_t>(channels));
      RunUnits(kernels.global_pool, Int8GlobalPoolArgs{input.map(), output.data(), 0.02f, 77}, channels,
               parts);
      for (int64_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (int64_t pixel = 0; pixel < 63; ++pixel)
          sum += bytes[static_cast<size_t>(pixel * channels + c)] - 77;
        CHECK(std::fabs(output[static_cast<size_t>(c)] - 0.02 * sum / 63) < 1e-5);
      }
    });
  }
}

// One output position's blend of input positions, as torch's interpolate(align_corners=False) has it.
double SourceAt(int64_t position, int64_t in_size, int64_t out_size) {
  const double scale = static_cast<double>(in_size) / static_cast<double>(out_size);
  return std::max(0.0, scale * (static_cast<double>(position) + 0.5) - 0.5);
}

TEST(int8_maps, resize_rounds_the_blend) {
  Random random;
  for (int64_t channels : {1, 15, 40}) {
    for (int64_t out_size : {5, 8, 12}) {
      const Bytes bytes = random.MakeBytes(8 * 8 * channels, Draw::kRandom);
      const GappedBytes input(8, 8, bytes, channels);
      ForEachInt8Table([&](const Int8Kernels& kernels, int parts) {
        const GappedBytes output(out_size, out_size, channels);
        RunUnits(kernels.resize, ResizeArgs{input.map(), output.map(), DType::kF32}, out_size, parts);
        const Bytes actual = output.Dense();
        for (int64_t i = 0; i < out_size * out_size * channels; ++i) {
          const double y = SourceAt(i / channels / out_size, 8, out_size),
                       x = SourceAt(i / channels % out_size, 8, out_size);
          const int64_t top = std::min<int64_t>(static_cast<int64_t>(y), 7),
                        left = std::min<int64_t>(static_cast<int64_t>(x), 7);
          double blend = 0;
          for (int64_t corner = 0; corner < 4; ++corner) {
            const int64_t down = corner / 2, right = corner % 2;
            const double weight = (down ? y - static_cast<double>(top) : 1 - y + static_cast<double>(top)) *
                                  (right ? x - static_cast<double>(left) : 1 - x + static_cast<double>(left));
            const int64_t pixel = std::min<int64_t>(top + down, 7) * 8 + std::min<int64_t>(left + right, 7);
            blend += weight * bytes[static_cast<size_t>(pixel * channels + i % channels)];
          }
          CHECK(std::fabs(actual[static_cast<size_t>(i)] - blend) < 0.501);
        }
        CHECK(output.GapsAreWhole());
      });
    }
  }
}

}  // namespace
}  // namespace mvf

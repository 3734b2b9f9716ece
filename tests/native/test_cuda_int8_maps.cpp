#include "cuda_int8_cases.h"

// The device's 8-bit kernels on maps, run by the emulator.
namespace mvf_test {
namespace {

using namespace mvf;

int64_t Strided(int64_t size, int64_t stride) { return (size - 1) / stride + 1; }

// Maps of a batch, dense.
struct Maps {
  Maps(Random& random, int64_t images, int64_t height, int64_t width, int64_t channels)
      : height(height),
        width(width),
        channels(channels),
        bytes(random.MakeBytes(images * height * width * channels, Draw::kRandom)) {}

  Map At(int64_t image) {
    return DenseMap(bytes.data() + image * height * width * channels, height, width, channels);
  }

  int64_t height, width, channels;
  Bytes bytes;
};

// The host's kernel on each image, and the device's on all of them. bind(image) gives the arguments of an
// image on the host, for image -1 those of the device; all but the output.
template <class Args, class Bind>
void CheckBatch(const Kernel<Args>& host, const CudaKernel<Args>& device, const CudaRun& run,
                const Map& output, int64_t units, const std::string& what, Bind&& bind) {
  const int64_t elements = output.height * output.width * output.channels;
  Bytes expected(static_cast<size_t>(run.images * elements));
  const auto place = [&](uint8_t* data) {
    return DenseMap(data, output.height, output.width, output.channels);
  };
  for (int64_t image = 0; image < run.images; ++image) {
    Args args = bind(image);
    args.output = place(expected.data() + image * elements);
    RunHost(host, args, units);
  }
  CheckSchedules(Bytes(expected.size(), 0xa5), expected, what, [&](uint8_t* data) {
    Args args = bind(-1);
    args.output = place(data);
    device.run(args, run);
  });
}

struct ConvCase {
  int64_t height, width, in, second, out, stride;
  bool table = true;
};

// Weights of a convolution or a stem, and what they are packed into.
struct ConvWeights {
  ConvWeights(Random& random, const Int8Conv3x3Shape& shape, bool table)
      : weight(random.MakeWeights(shape.out * 9 * (shape.in + shape.in_second), Draw::kRandom)),
        bias(random.MakeInts(shape.out, -3000, 3000)),
        requantization(random, shape.out, 9 * (shape.in + shape.in_second), table) {}
  Int8Conv3x3Weights Get() const { return {{weight.data(), bias.data()}, requantization.Get()}; }

  Weights weight;
  std::vector<int32_t> bias;
  PlainRequantization requantization;
};

void CheckConv(const ConvCase& test, const CudaRun& run) {
  Random random;
  Maps first(random, run.images, test.height, test.width, test.in);
  Maps second(random, run.images, test.height, test.width, test.second);
  Int8Conv3x3Args args;
  args.shape.in = test.in;
  args.shape.in_second = test.second;
  args.shape.out = test.out;
  args.shape.stride = test.stride;
  args.shape.input_zero = 13;
  args.shape.second_zero = 201;
  const ConvWeights weights(random, args.shape, test.table);
  const auto host = Pack(HostInt8().conv3x3_packing, args.shape, weights.Get());
  const auto device = Pack(DeviceInt8().conv3x3_packing, args.shape, weights.Get());
  const Map output =
      DenseMap(nullptr, Strided(test.height, test.stride), Strided(test.width, test.stride), test.out);
  CheckBatch(HostInt8().conv3x3, DeviceInt8().conv3x3, run, output, output.height, "a convolution",
             [&](int64_t image) {
               args.packed = image < 0 ? device.data() : host.data();
               args.input = first.At(std::max<int64_t>(image, 0));
               args.second = second.At(std::max<int64_t>(image, 0));
               return args;
             });
}

TEST(cuda_int8_maps, conv3x3) {
  for (const CudaRun& run : {FewMultiprocessors(2), ManyMultiprocessors(3)}) {
    CheckConv({5, 7, 16, 0, 24, 1}, run);
    CheckConv({7, 4, 16, 48, 40, 1}, run);
    CheckConv({6, 5, 32, 32, 33, 1, false}, run);
    CheckConv({3, 3, 5, 2, 3, 1}, run);
    CheckConv({6, 5, 40, 0, 70, 2}, run);
    CheckConv({9, 8, 64, 0, 65, 2}, run);
    CheckConv({1, 1, 3, 0, 2, 2}, run);
  }
}

void CheckStem(int64_t height, int64_t width, int64_t out, bool channels_last) {
  Random random;
  CudaRun run = FewMultiprocessors(2);
  run.image_stride = 3 * height * width;
  const std::vector<float> images = random.MakeFloats(run.images * run.image_stride, -0.2f, 1.2f);
  Int8StemArgs args;
  args.shape.in = 3;
  args.shape.out = out;
  args.shape.stride = 2;
  args.shape.input_zero = 5;
  args.shape.input_scale = 1.0f / 253;
  const ConvWeights weights(random, args.shape, true);
  const auto host = Pack(HostInt8().stem_packing, args.shape, weights.Get());
  const auto device = Pack(DeviceInt8().stem_packing, args.shape, weights.Get());
  const Map output = DenseMap(nullptr, Strided(height, 2), Strided(width, 2), out);
  CheckBatch(HostInt8().stem, DeviceInt8().stem, run, output, output.height, "a stem", [&](int64_t image) {
    const float* data = images.data() + std::max<int64_t>(image, 0) * run.image_stride;
    args.packed = image < 0 ? device.data() : host.data();
    args.input = channels_last ? Image{data, 3, height, width, 1, 3 * width, 3}
                               : Image{data, 3, height, width, height * width, width, 1};
    return args;
  });
}

TEST(cuda_int8_maps, stem) {
  CheckStem(13, 17, 16, false);
  CheckStem(8, 9, 33, true);
  CheckStem(40, 40, 32, false);
  CheckStem(1, 1, 3, true);
}

struct ResidualCase {
  int64_t height, width, in, expanded, out, stride;
  bool residual = false;
};

void CheckInvertedResidual(const ResidualCase& test, const CudaRun& run) {
  Random random;
  Maps input(random, run.images, test.height, test.width, test.in);
  const auto make = [&](int64_t count) { return random.MakeWeights(count, Draw::kRandom); };
  const Weights expand = make(test.expanded * test.in), taps = make(9 * test.expanded),
                project = make(test.out * test.expanded);
  const std::vector<int32_t> bias = random.MakeInts(test.expanded + test.out, -3000, 3000);
  const PlainRequantization expand_to(random, test.expanded, test.in, true);
  const PlainRequantization depthwise_to(random, test.expanded, 9, true);
  const PlainRequantization project_to(random, test.out, test.expanded, false);
  const Int8InvertedResidualWeights weights = {{expand.data(), bias.data()},
                                               expand_to.Get(),
                                               {taps.data(), bias.data()},
                                               depthwise_to.Get(),
                                               {project.data(), bias.data() + test.expanded},
                                               project_to.Get()};
  Int8InvertedResidualArgs args;
  args.shape = {test.in,
                test.expanded,
                test.out,
                test.stride,
                test.residual,
                131,
                17,
                23,
                test.residual ? 0.37f : 0.0f};
  const auto host = Pack(HostInt8().inverted_residual_packing, args.shape, weights);
  const auto device = Pack(DeviceInt8().inverted_residual_packing, args.shape, weights);
  const Map output =
      DenseMap(nullptr, Strided(test.height, test.stride), Strided(test.width, test.stride), test.out);
  CheckBatch(HostInt8().inverted_residual, DeviceInt8().inverted_residual, run, output, output.height,
             "an inverted residual of " + std::to_string(test.in), [&](int64_t image) {
               args.packed = image < 0 ? device.data() : host.data();
               args.input = input.At(std::max<int64_t>(image, 0));
               return args;
             });
}

TEST(cuda_int8_maps, inverted_residual) {
  CheckInvertedResidual({11, 9, 16, 64, 16, 1, true}, FewMultiprocessors(2));
  CheckInvertedResidual({9, 13, 24, 40, 20, 2}, FewMultiprocessors(1));
  CheckInvertedResidual({5, 6, 7, 9, 7, 1, true}, ManyMultiprocessors(2));
  CheckInvertedResidual({7, 5, 68, 33, 90, 2}, ManyMultiprocessors(1));
  CheckInvertedResidual({6, 7, 40, 129, 200, 1}, FewMultiprocessors(1));
  CheckInvertedResidual({1, 1, 8, 16, 6, 2}, ManyMultiprocessors(3));
}

struct AttentionCase {
  int64_t height, width, heads, head_dim;
  int64_t patch_height = 2, patch_width = 2;
  float score_scale = 4e-5f;
};

void CheckAttention(const AttentionCase& test, const CudaRun& run) {
  Random random;
  const int64_t dim = test.heads * test.head_dim;
  Maps qkv(random, run.images, test.height, test.width, 3 * dim);
  Int8AttentionArgs args;
  args.heads = test.heads;
  args.patch_height = test.patch_height;
  args.patch_width = test.patch_width;
  args.score_scale = test.score_scale;
  args.output_multiplier = 1.9f;
  args.output_zero = 119;
  const int64_t units = test.patch_height * test.patch_width * test.heads;
  CheckBatch(HostInt8().attention, DeviceInt8().attention, run,
             DenseMap(nullptr, test.height, test.width, dim), units, "attention", [&](int64_t image) {
               args.qkv = qkv.At(std::max<int64_t>(image, 0));
               return args;
             });
}

TEST(cuda_int8_maps, attention) {
  const CudaRun run = FewMultiprocessors(2);
  CheckAttention({2, 2, 1, 5}, run);
  CheckAttention({6, 4, 2, 16}, run);
  CheckAttention({8, 10, 3, 20, 2, 2, 1e-3f}, run);
  CheckAttention({12, 11, 2, 30, 1, 1}, run);  // more keys than come at a time
  CheckAttention({16, 16, 1, 36}, run);
  CheckAttention({18, 20, 1, 48, 2, 2, 3e-3f}, run);
  CheckAttention({6, 21, 2, 60, 2, 3}, run);
  CheckAttention({9, 15, 1, 64, 1, 1, 1e-6f}, run);
}

TEST(cuda_int8_maps, attention_at_its_extremes) {
  for (uint8_t value : {0, 255}) {
    Maps qkv = [&] {
      Random random;
      return Maps(random, 1, 4, 4, 3 * 64);
    }();
    std::fill(qkv.bytes.begin(), qkv.bytes.end(), value);
    Int8AttentionArgs args;
    args.heads = 1;
    args.score_scale = 1e-4f;
    args.output_multiplier = 1.0f;
    args.output_zero = 128;
    args.qkv = qkv.At(0);
    CheckBatch(HostInt8().attention, DeviceInt8().attention, FewMultiprocessors(1),
               DenseMap(nullptr, 4, 4, 64), 4, "attention to equal keys", [&](int64_t) { return args; });
  }
}

TEST(cuda_int8_maps, heads_that_are_too_wide_are_refused) {
  Int8AttentionArgs args;
  args.heads = 1;
  args.output = DenseMap(nullptr, 2, 2, 65);
  args.qkv = DenseMap(nullptr, 2, 2, 195);
  CHECK_THROWS(std::invalid_argument, "heads of 65 channels",
               DeviceInt8().attention.run(args, FewMultiprocessors(1)));
}

TEST(cuda_int8_maps, resize) {
  for (const auto& [height, width, out_height, out_width] :
       {std::array<int64_t, 4>{7, 7, 8, 8}, {8, 8, 7, 7}, {3, 5, 4, 6}, {1, 1, 2, 2}, {5, 4, 5, 4}}) {
    Random random;
    const CudaRun run = FewMultiprocessors(2);
    Maps input(random, run.images, height, width, 19);
    ResizeArgs args;
    CheckBatch(HostInt8().resize, DeviceInt8().resize, run, DenseMap(nullptr, out_height, out_width, 19),
               out_height, "a resize", [&](int64_t image) {
                 args.input = input.At(std::max<int64_t>(image, 0));
                 return args;
               });
  }
}

TEST(cuda_int8_maps, resize_of_floats) {
  Random random;
  std::vector<float> input = random.MakeFloats(7 * 5 * 13, -2.0f, 2.0f), expected(8 * 6 * 13);
  ResizeArgs args;
  args.type = DType::kF32;
  args.input = DenseMap(input.data(), 7, 5, 13);
  args.output = DenseMap(expected.data(), 8, 6, 13);
  RunHost(ScalarTable()->resize, args, 8);
  CheckSchedules(std::vector<float>(expected.size()), expected, "a resize", [&](float* output) {
    args.output.data = output;
    CudaTableInt8().resize.run(args, FewMultiprocessors(1));
  });
}

TEST(cuda_int8_maps, global_pool) {
  for (const auto& [height, width, channels] :
       {std::array<int64_t, 3>{8, 8, 40}, {1, 1, 1}, {7, 5, 33}, {3, 11, 320}}) {
    Random random;
    const CudaRun run = FewMultiprocessors(2);
    Maps input(random, run.images, height, width, channels);
    std::vector<float> expected(static_cast<size_t>(run.images * channels));
    Int8GlobalPoolArgs args;
    args.scale = 0.0137f;
    args.zero = 37;
    for (int64_t image = 0; image < run.images; ++image) {
      args.input = input.At(image);
      args.output = expected.data() + image * channels;
      RunHost(HostInt8().global_pool, args, channels);
    }
    args.input = input.At(0);
    CheckSchedules(std::vector<float>(expected.size()), expected, "a global pool", [&](float* output) {
      args.output = output;
      DeviceInt8().global_pool.run(args, run);
    });
  }
}

}  // namespace
}  // namespace mvf_test

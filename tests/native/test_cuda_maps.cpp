#include "cuda_cases.h"
#include "engine/pack.h"

// The device's kernels on maps, run by the emulator.
namespace mvf_test {
namespace {

// A batch of maps, as float and in the device's type.
template <class Element>
struct Maps {
  Maps(Random& random, int64_t images, int64_t height, int64_t width, int64_t channels)
      : height(height),
        width(width),
        channels(channels),
        floats(random.Make<Element>(images * height * width * channels)),
        elements(RoundAll<Element>(floats)) {}

  Map Plain(int64_t image) {
    return DenseMap(floats.data() + image * height * width * channels, height, width, channels);
  }
  Map Device() { return DenseMap(elements.data(), height, width, channels); }

  int64_t height, width, channels;
  std::vector<float> floats;
  std::vector<Element> elements;
};

int64_t Strided(int64_t size, int64_t stride) { return (size - 1) / stride + 1; }

struct Output {
  int64_t height, width, channels;
  int64_t elements() const { return height * width * channels; }
};

// Plain loops on each image, and the device's kernel on all of them. bind(image) gives the plain arguments,
// but for the output; those of the device for image -1.
template <class Element, class Args, class Bind>
void CheckBatch(const Kernel<Args>& plain, const CudaKernel<Args>& device, const CudaRun& run,
                const Output& output, int64_t units, double roundings, const std::string& what, Bind&& bind) {
  std::vector<float> expected(static_cast<size_t>(run.images * output.elements()));
  for (int64_t image = 0; image < run.images; ++image) {
    Args args = bind(image);
    args.output =
        DenseMap(expected.data() + image * output.elements(), output.height, output.width, output.channels);
    plain.run(args, {0, units}, nullptr);
  }
  const std::vector<float> actual =
      RunSchedules(Unwritten<Element>(run.images * output.elements()), [&](Element* place) {
        Args args = bind(-1);
        args.output = DenseMap(place, output.height, output.width, output.channels);
        device.run(args, run);
      });
  CheckClose<Element>(actual, expected, roundings, what);
}

struct ConvCase {
  int64_t height, width, in, second, out, stride;
};

template <class Element>
void CheckConv(const ConvCase& test, const CudaRun& run) {
  Random random;
  Maps<Element> first(random, run.images, test.height, test.width, test.in);
  Maps<Element> second(random, run.images, test.height, test.width, test.second);
  const std::vector<float> weight = random.Make<Element>(test.out * 9 * (test.in + test.second));
  const std::vector<float> bias = random.Make<float>(test.out);
  const Conv3x3Weights weights = {weight.data(), bias.data()};
  Conv3x3Args args;
  args.shape = {test.in, test.second, test.out, test.stride, Activation::kSilu, ConvAlgorithm::kDirect};
  const AlignedBuffer plain = Pack(PlainTable().conv3x3_packing, args.shape, weights);
  const AlignedBuffer packed = Pack(TableOf<Element>().conv3x3_packing, args.shape, weights);
  const Output output = {Strided(test.height, test.stride), Strided(test.width, test.stride), test.out};
  CheckBatch<Element>(PlainTable().conv3x3, TableOf<Element>().conv3x3, run, output, output.height,
                      Roundings<Element>(32, 2), "a convolution", [&](int64_t image) {
                        args.packed = image < 0 ? packed.data() : plain.data();
                        args.input = image < 0 ? first.Device() : first.Plain(image);
                        args.second = image < 0 ? second.Device() : second.Plain(image);
                        return args;
                      });
}

template <class Element>
void CheckConvs() {
  for (const CudaRun& run : {FewMultiprocessors(2), ManyMultiprocessors(3)}) {
    CheckConv<Element>({5, 7, 16, 0, 24, 1}, run);
    CheckConv<Element>({7, 4, 8, 24, 40, 1}, run);
    CheckConv<Element>({3, 3, 5, 2, 3, 1}, run);
    CheckConv<Element>({6, 5, 40, 0, 70, 2}, run);
    CheckConv<Element>({1, 1, 3, 0, 2, 2}, run);
  }
}

TEST(cuda_maps, conv3x3_f16) { CheckConvs<Half>(); }
TEST(cuda_maps, conv3x3_bf16) { CheckConvs<Bf16>(); }
TEST(cuda_maps, conv3x3_tf32) { CheckConvs<Tf32>(); }
TEST(cuda_maps, conv3x3_f32) { CheckConvs<float>(); }

template <class Element>
void CheckStem(int64_t height, int64_t width, int64_t out, bool channels_last) {
  Random random;
  CudaRun run = FewMultiprocessors(2);
  const std::vector<float> images = random.Make<Element>(2 * 3 * height * width);
  const std::vector<float> weight = random.Make<Element>(out * 27), bias = random.Make<float>(out);
  const Conv3x3Weights weights = {weight.data(), bias.data()};
  StemArgs args;
  args.shape = {3, 0, out, 2, Activation::kSilu, ConvAlgorithm::kDirect};
  const AlignedBuffer plain = Pack(PlainTable().stem_packing, args.shape, weights);
  const AlignedBuffer packed = Pack(TableOf<Element>().stem_packing, args.shape, weights);
  run.image_stride = 3 * height * width;
  const Output output = {Strided(height, 2), Strided(width, 2), out};
  CheckBatch<Element>(PlainTable().stem, TableOf<Element>().stem, run, output, output.height,
                      Roundings<Element>(16, 2), "a stem", [&](int64_t image) {
                        const float* data = images.data() + (image < 0 ? 0 : image) * run.image_stride;
                        args.packed = image < 0 ? packed.data() : plain.data();
                        if (channels_last) {
                          args.input = {data, 3, height, width, 1, 3 * width, 3};
                        } else {
                          args.input = {data, 3, height, width, height * width, width, 1};
                        }
                        return args;
                      });
}

TEST(cuda_maps, stem) {
  CheckStem<Half>(13, 17, 16, false);
  CheckStem<Half>(8, 9, 33, true);
  CheckStem<Bf16>(9, 6, 16, true);
  CheckStem<Tf32>(9, 7, 33, false);
  CheckStem<float>(7, 11, 32, false);
}

struct ResidualCase {
  int64_t height, width, in, expanded, out, stride;
  bool residual = false;
};

template <class Element>
void CheckInvertedResidual(const ResidualCase& test, const CudaRun& run) {
  Random random;
  Maps<Element> input(random, run.images, test.height, test.width, test.in);
  const auto make = [&](int64_t out, int64_t in) {
    return random.Make<Element>(out * in, 2.0f / std::sqrt(static_cast<float>(in)));
  };
  const std::vector<float> expand = make(test.expanded, test.in),
                           expand_bias = random.Make<float>(test.expanded);
  const std::vector<float> taps = random.Make<float>(9 * test.expanded),
                           taps_bias = random.Make<float>(test.expanded);
  const std::vector<float> project = make(test.out, test.expanded),
                           project_bias = random.Make<float>(test.out);
  const InvertedResidualWeights weights = {{expand.data(), expand_bias.data()},
                                           {taps.data(), taps_bias.data()},
                                           {project.data(), project_bias.data()}};
  InvertedResidualArgs args;
  args.shape = {test.in, test.expanded, test.out, test.stride, test.residual};
  const auto plain = Pack(PlainTable().inverted_residual_packing, args.shape, weights);
  const auto packed = Pack(TableOf<Element>().inverted_residual_packing, args.shape, weights);
  const Output output = {Strided(test.height, test.stride), Strided(test.width, test.stride), test.out};
  CheckBatch<Element>(PlainTable().inverted_residual, TableOf<Element>().inverted_residual, run, output,
                      output.height, Roundings<Element>(24, 5), "an inverted residual", [&](int64_t image) {
                        args.packed = image < 0 ? packed.data() : plain.data();
                        args.input = image < 0 ? input.Device() : input.Plain(image);
                        return args;
                      });
}

template <class Element>
void CheckInvertedResiduals() {
  CheckInvertedResidual<Element>({11, 9, 16, 64, 16, 1, true}, FewMultiprocessors(2));
  CheckInvertedResidual<Element>({9, 13, 24, 40, 20, 2}, FewMultiprocessors(1));
  CheckInvertedResidual<Element>({5, 6, 7, 9, 7, 1, true}, ManyMultiprocessors(2));
  CheckInvertedResidual<Element>({7, 5, 40, 33, 90, 2}, ManyMultiprocessors(1));
  CheckInvertedResidual<Element>({1, 1, 8, 16, 6, 2}, ManyMultiprocessors(3));
  CheckInvertedResidual<Element>({2, 3, 8, 8, 170, 1}, ManyMultiprocessors(1));  // more than a block's sums
}

TEST(cuda_maps, inverted_residual_f16) {
  CheckInvertedResiduals<Half>();
  // The widest that the smallest device's shared memory must hold.
  CheckInvertedResidual<Half>({3, 3, kMaxCudaExpandedInput, 16, 8, 2}, ManyMultiprocessors(1));
}
TEST(cuda_maps, inverted_residual_bf16) { CheckInvertedResiduals<Bf16>(); }
TEST(cuda_maps, inverted_residual_tf32) { CheckInvertedResiduals<Tf32>(); }
TEST(cuda_maps, inverted_residual_f32) { CheckInvertedResiduals<float>(); }

struct AttentionCase {
  int64_t height, width, heads, head_dim, patch_height, patch_width;
};

template <class Element>
void CheckAttention(const AttentionCase& test) {
  Random random;
  const CudaRun run = FewMultiprocessors(2);
  const int64_t dim = test.heads * test.head_dim;
  Maps<Element> qkv(random, run.images, test.height, test.width, 3 * dim);
  for (float& value : qkv.floats) value *= 2;  // uneven weights
  qkv.elements = RoundAll<Element>(qkv.floats);
  CheckBatch<Element>(PlainTable().attention, TableOf<Element>().attention, run,
                      {test.height, test.width, dim}, test.patch_height * test.patch_width * test.heads,
                      Roundings<Element>(64, 3), "attention with heads of " + std::to_string(test.head_dim),
                      [&](int64_t image) {
                        AttentionArgs args;
                        args.qkv = image < 0 ? qkv.Device() : qkv.Plain(image);
                        args.heads = test.heads;
                        args.patch_height = test.patch_height;
                        args.patch_width = test.patch_width;
                        return args;
                      });
}

template <class Element>
void CheckAttentions() {
  CheckAttention<Element>({4, 6, 2, 16, 2, 2});
  CheckAttention<Element>({10, 2, 1, 20, 1, 2});
  CheckAttention<Element>({2, 2, 2, 30, 2, 2});   // one token
  CheckAttention<Element>({18, 8, 1, 36, 2, 1});  // 72 tokens: two tiles of keys
  CheckAttention<Element>({3, 43, 1, 5, 1, 1});   // 129
  CheckAttention<Element>({6, 4, 1, 60, 2, 2});
}

TEST(cuda_maps, attention_f16) { CheckAttentions<Half>(); }
TEST(cuda_maps, attention_bf16) { CheckAttentions<Bf16>(); }
TEST(cuda_maps, attention_tf32) { CheckAttentions<Tf32>(); }
TEST(cuda_maps, attention_f32) { CheckAttentions<float>(); }

TEST(cuda_maps, wide_heads_are_refused) {
  AttentionArgs args;
  args.output.channels = 130;
  args.heads = 2;
  CHECK_THROWS(std::invalid_argument, "at most 64",
               CudaTableF16().attention.run(args, FewMultiprocessors(1)));
}

template <class Element>
void CheckResize(int64_t height, int64_t width, int64_t out_height, int64_t out_width, DType type) {
  Random random;
  Maps<Element> input(random, 2, height, width, 5);
  CheckBatch<Element>(PlainTable().resize, TableOf<Half>().resize, FewMultiprocessors(2),
                      {out_height, out_width, 5}, out_height, Roundings<Element>(8, 1.1), "a resize",
                      [&](int64_t image) {
                        ResizeArgs args;
                        args.type = image < 0 ? type : DType::kF32;
                        args.input = image < 0 ? input.Device() : input.Plain(image);
                        return args;
                      });
}

TEST(cuda_maps, resize) {
  CheckResize<Half>(7, 7, 8, 8, DType::kF16);
  CheckResize<Half>(8, 10, 7, 9, DType::kF16);
  CheckResize<float>(1, 3, 2, 4, DType::kF32);
  CheckResize<float>(6, 6, 6, 6, DType::kF32);
}

template <class Element, class Stored>
void CheckPool(int64_t height, int64_t width, int64_t channels) {
  Random random;
  Maps<Element> input(random, 2, height, width, channels);
  std::vector<float> expected(static_cast<size_t>(2 * channels));
  GlobalPoolArgs args;
  for (int64_t image = 0; image < 2; ++image) {
    args.input = input.Plain(image);
    args.output = expected.data() + image * channels;
    args.float_output = true;
    PlainTable().global_pool.run(args, {0, channels}, nullptr);
  }
  const std::vector<float> actual = RunSchedules(Unwritten<Stored>(2 * channels), [&](Stored* output) {
    args.input = input.Device();
    args.output = output;
    args.float_output = sizeof(Stored) == sizeof(float);
    TableOf<Element>().global_pool.run(args, FewMultiprocessors(2));
  });
  CheckClose<Stored>(actual, expected, Roundings<Stored>(64, 1.1), "a pool");
}

TEST(cuda_maps, global_pool) {
  CheckPool<Half, Half>(3, 7, 40);
  CheckPool<Half, float>(1, 1, 33);
  CheckPool<Bf16, Bf16>(8, 8, 5);
  CheckPool<Tf32, Tf32>(4, 5, 33);
  CheckPool<float, float>(5, 5, 64);
}

TEST(cuda_maps, planar) {
  Random random;
  Maps<Half> maps(random, 2, 3, 5, 7);
  PlanarArgs args;
  args.map = maps.Device();
  args.type = DType::kF16;
  const std::vector<float> planar = RunSchedules(Unwritten<float>(210), [&](float* output) {
    args.output = output;
    CudaTableF16().planar.run(args, FewMultiprocessors(2));
  });
  for (size_t image = 0; image < 2; ++image) {
    for (size_t pixel = 0; pixel < 15; ++pixel) {
      for (size_t c = 0; c < 7; ++c) {
        CHECK_EQUAL(planar[(image * 7 + c) * 15 + pixel], maps.floats[(image * 15 + pixel) * 7 + c]);
      }
    }
  }
}

}  // namespace
}  // namespace mvf_test

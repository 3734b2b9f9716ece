#include "cuda_cases.h"
#include "engine/pack.h"

// The device's kernels on rows of numbers, run by the emulator.
namespace mvf_test {
namespace {

struct LinearCase {
  int64_t rows, in, out;
  Activation activation = Activation::kNone;
  bool normalize = false;
  bool float_output = false;
  bool residual = false;
};

// `Stored` is what the output holds.
template <class Element, class Stored>
void CheckLinear(const LinearCase& test, const CudaRun& run) {
  Random random;
  const int64_t rows = test.rows * run.images;
  const std::vector<float> weight = random.Make<Element>(test.out * test.in),
                           bias = random.Make<float>(test.out);
  const std::vector<float> residual = random.Make<Stored>(rows * test.out);
  const std::vector<float> input =
      test.normalize ? random.Make<float>(rows * test.in, 3.0f) : random.Make<Element>(rows * test.in);
  const std::vector<Element> rounded = RoundAll<Element>(input);

  LinearArgs args;
  args.shape.in = test.in;
  args.shape.out = test.out;
  args.shape.activation = test.activation;
  args.shape.normalize = test.normalize;
  args.rows = rows;
  args.input_stride = test.in;
  args.output_stride = test.out;
  args.float_output = test.float_output;
  const LinearWeights weights = {weight.data(), bias.data()};

  std::vector<float> expected(static_cast<size_t>(rows * test.out));
  const AlignedBuffer plain = Pack(PlainTable().linear_packing, args.shape, weights);
  args.packed = plain.data();
  args.input = input.data();
  args.output = expected.data();
  if (test.residual) {
    args.residual = residual.data();
    args.residual_stride = test.out;
  }
  PlainTable().linear.run(args, {0, rows}, nullptr);

  const AlignedBuffer packed = Pack(TableOf<Element>().linear_packing, args.shape, weights);
  args.packed = packed.data();
  args.input = test.normalize ? static_cast<const void*>(input.data()) : rounded.data();
  args.rows = test.rows;
  // A residual is added to in place.
  const std::vector<Stored> initial =
      test.residual ? RoundAll<Stored>(residual) : Unwritten<Stored>(rows * test.out);
  const std::vector<float> actual = RunSchedules(initial, [&](Stored* output) {
    args.output = output;
    args.residual = test.residual ? output : nullptr;
    TableOf<Element>().linear.run(args, run);
  });
  const double depth = std::sqrt(static_cast<double>(test.in));
  CheckClose<Element>(actual, expected, Roundings<Element>(4 + depth, test.normalize ? 4 : 2),
                      "a linear layer of " + std::to_string(test.in) + " to " + std::to_string(test.out));
}

const LinearCase kLinearCases[] = {
    {150, 16, 96, Activation::kSilu},
    {33, 24, 10},
    {7, 10, 7, Activation::kSilu},
    {5, 64, 33, Activation::kNone, false, false, true},
    {1, 640, 11, Activation::kNone, false, true},
    {20, 33, 32, Activation::kNone, false, true, true},
    {70, 36, 72, Activation::kNone, true},
    {9, 13, 5, Activation::kSilu, true, true, true},
};

template <class Element>
void CheckLinearCases() {
  for (const LinearCase& test : kLinearCases) {
    for (const CudaRun& run : {FewMultiprocessors(2), ManyMultiprocessors(3)}) {
      if (test.float_output) {
        CheckLinear<Element, float>(test, run);
      } else {
        CheckLinear<Element, Element>(test, run);
      }
    }
  }
}

TEST(cuda_rows, linear_f16) { CheckLinearCases<Half>(); }
TEST(cuda_rows, linear_bf16) { CheckLinearCases<Bf16>(); }
TEST(cuda_rows, linear_tf32) { CheckLinearCases<Tf32>(); }
TEST(cuda_rows, linear_f32) { CheckLinearCases<float>(); }

template <class Element>
void CheckFfn(int64_t dim, int64_t hidden, int64_t rows) {
  Random random;
  const CudaRun run = FewMultiprocessors(2);
  const std::vector<float> up = random.Make<Element>(hidden * dim), up_bias = random.Make<float>(hidden);
  const std::vector<float> down = random.Make<Element>(hidden * dim), down_bias = random.Make<float>(dim);
  const std::vector<float> stream = random.Make<float>(2 * rows * dim, 2.0f);
  const FfnWeights weights = {{up.data(), up_bias.data()}, {down.data(), down_bias.data()}};
  FfnArgs args;
  args.shape.dim = dim;
  args.shape.hidden = hidden;
  args.rows = 2 * rows;
  args.stream_stride = dim;

  std::vector<float> expected = stream;
  const AlignedBuffer plain = Pack(PlainTable().ffn_packing, args.shape, weights);
  args.packed = plain.data();
  args.stream = expected.data();
  PlainTable().ffn.run(args, {0, args.rows}, nullptr);

  const AlignedBuffer packed = Pack(TableOf<Element>().ffn_packing, args.shape, weights);
  args.packed = packed.data();
  args.rows = rows;
  const std::vector<float> actual = RunSchedules(stream, [&](float* output) {
    args.stream = output;
    TableOf<Element>().ffn.run(args, run);
  });
  CheckClose<Element>(actual, expected, Roundings<Element>(16, 4), "an ffn of " + std::to_string(dim));
}

template <class Element>
void CheckFfns() {
  CheckFfn<Element>(48, 96, 37);
  CheckFfn<Element>(13, 70, 3);
  CheckFfn<Element>(144, 64, 32);
  CheckFfn<Element>(270, 33, 5);  // more columns than a block's sums
}

TEST(cuda_rows, ffn_f16) { CheckFfns<Half>(); }
TEST(cuda_rows, ffn_bf16) { CheckFfns<Bf16>(); }
TEST(cuda_rows, ffn_tf32) { CheckFfns<Tf32>(); }
TEST(cuda_rows, ffn_f32) { CheckFfns<float>(); }

TEST(cuda_rows, what_no_block_can_hold_is_refused) {
  FfnArgs args;
  args.shape.dim = 4096;
  args.shape.hidden = 8;
  args.rows = 1;
  CHECK_THROWS(std::invalid_argument, "bytes of a block's shared memory",
               CudaTableF16().ffn.run(args, ManyMultiprocessors(1)));
}

template <class Element>
void CheckLayerNorm(int64_t rows, int64_t channels) {
  Random random;
  const std::vector<float> input = random.Make<float>(2 * rows * channels, 5.0f);
  const std::vector<float> gamma = random.Make<float>(channels), beta = random.Make<float>(channels);
  LayerNormArgs args;
  args.rows = 2 * rows;
  args.channels = channels;
  args.input = input.data();
  args.input_stride = args.output_stride = channels;
  args.gamma = gamma.data();
  args.beta = beta.data();
  std::vector<float> expected(input.size());
  args.output = expected.data();
  PlainTable().layer_norm.run(args, {0, args.rows}, nullptr);
  args.rows = rows;
  const std::vector<float> actual =
      RunSchedules(Unwritten<Element>(2 * rows * channels), [&](Element* output) {
        args.output = output;
        TableOf<Element>().layer_norm.run(args, FewMultiprocessors(2));
      });
  CheckClose<Element>(actual, expected, Roundings<Element>(16, 1.1), "a layer norm");
}

TEST(cuda_rows, layer_norm) {
  for (const auto& [rows, channels] : {std::pair{5, 144}, {1, 31}, {9, 1}, {3, 240}}) {
    CheckLayerNorm<Half>(rows, channels);
    CheckLayerNorm<Bf16>(rows, channels);
    CheckLayerNorm<Tf32>(rows, channels);
    CheckLayerNorm<float>(rows, channels);
  }
}

}  // namespace
}  // namespace mvf_test

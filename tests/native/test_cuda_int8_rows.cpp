#include "cuda_int8_cases.h"

// The device's 8-bit kernels on rows, run by the emulator.
namespace mvf_test {
namespace {

using namespace mvf;

// Rows to be normalised lie so far from zero that the order of a sum shows in many bytes.
constexpr float kFar = 4000.0f;

enum class Outputs { kBytes, kTable, kFloats, kResidual, kSums };

struct LinearCase {
  int64_t rows, in, out;
  Int8Input input = Int8Input::kBytes;
  bool normalize = false;
  Outputs outputs = Outputs::kBytes;
  int64_t spare = 0;  // elements behind each row
  Draw draw = Draw::kRandom;
};

// A linear layer over the rows of all images, and buffers for it.
struct Linear {
  Linear(const LinearCase& test, int64_t images)
      : test(test),
        rows(test.rows * images),
        bytes(random.MakeBytes(rows * (test.in + test.spare), test.draw)),
        floats(random.MakeFloats(rows * (test.in + test.spare), (test.normalize ? kFar : 0) - 3.0f,
                                 (test.normalize ? kFar : 0) + 4.0f)),
        residual(random.MakeFloats(rows * (test.out + test.spare), -1.0f, 1.0f)),
        weight(random.MakeWeights(test.out * test.in, test.draw)),
        bias(random.MakeInts(test.out, -3000, 3000)),
        requantization(random, test.out, test.in, test.outputs == Outputs::kTable) {
    args.shape.in = test.in;
    args.shape.out = test.out;
    args.shape.input = test.input;
    args.shape.input_scale = test.normalize ? 0.0231f : 0.0287f;
    args.shape.input_zero = 117;
    args.shape.normalize = test.normalize;
    args.shape.float_output = test.outputs == Outputs::kFloats || test.outputs == Outputs::kResidual;
    args.input = test.input == Int8Input::kBytes ? static_cast<const void*>(bytes.data()) : floats.data();
    args.input_stride = test.in + test.spare;
    args.output_stride = test.out + test.spare;
    args.residual_stride = test.out + test.spare;
  }

  Int8LinearWeights weights() const {
    return {{weight.data(), bias.data()}, requantization.Get(), Activation::kNone};
  }

  // What there is before, and with the host's kernel after.
  template <class Number>
  void Check(std::vector<Number> initial, const CudaRun& run) {
    const auto place = [&](Number* output) {
      if (test.outputs == Outputs::kSums) {
        args.sums = reinterpret_cast<int32_t*>(output);
      } else {
        args.output = output;
        if (test.outputs == Outputs::kResidual) args.residual = reinterpret_cast<float*>(output);
      }
    };
    std::vector<Number> expected = initial;
    place(expected.data());
    args.rows = rows;
    RunPacked(HostInt8().linear_packing, HostInt8().linear, args, weights(), rows, 1);
    const AlignedBuffer packed = Pack(DeviceInt8().linear_packing, args.shape, weights());
    args.packed = packed.data();
    args.rows = test.rows;
    const std::string what = "a linear layer of " + std::to_string(test.in) + " to " +
                             std::to_string(test.out) + ", outputs " +
                             std::to_string(static_cast<int>(test.outputs));
    CheckSchedules(initial, expected, what, [&](Number* output) {
      place(output);
      DeviceInt8().linear.run(args, run);
    });
  }

  Random random;
  LinearCase test;
  int64_t rows;
  Bytes bytes;
  std::vector<float> floats, residual;
  Weights weight;
  std::vector<int32_t> bias;
  PlainRequantization requantization;
  Int8LinearArgs args;
};

void CheckLinear(const LinearCase& test) {
  for (const CudaRun& run : {FewMultiprocessors(2), ManyMultiprocessors(3)}) {
    Linear linear(test, run.images);
    const auto elements = static_cast<size_t>(linear.rows * (test.out + test.spare));
    if (test.outputs == Outputs::kSums) {
      linear.Check(std::vector<int32_t>(static_cast<size_t>(linear.rows * test.out), -7), run);
    } else if (test.outputs == Outputs::kFloats) {
      linear.Check(std::vector<float>(elements, -7.0f), run);
    } else if (test.outputs == Outputs::kResidual) {
      linear.Check(linear.residual, run);
    } else {
      linear.Check(Bytes(elements, 0xa5), run);
    }
  }
}

TEST(cuda_int8_rows, linear_of_bytes) {
  for (Outputs outputs :
       {Outputs::kBytes, Outputs::kTable, Outputs::kFloats, Outputs::kResidual, Outputs::kSums}) {
    CheckLinear({150, 16, 96, Int8Input::kBytes, false, outputs});
    CheckLinear({33, 24, 10, Int8Input::kBytes, false, outputs, 5});
    CheckLinear({7, 100, 72, Int8Input::kBytes, false, outputs, 4});
    CheckLinear({5, 61, 33, Int8Input::kBytes, false, outputs});
    CheckLinear({1, 640, 11, Int8Input::kBytes, false, outputs});
    CheckLinear({140, 200, 24, Int8Input::kBytes, false, outputs, 8});
  }
}

TEST(cuda_int8_rows, linear_at_the_extremes_of_its_sums) {
  for (Draw draw : {Draw::kLargest, Draw::kSmallest}) {
    CheckLinear({9, 2880, 40, Int8Input::kBytes, false, Outputs::kSums, 0, draw});
  }
}

TEST(cuda_int8_rows, linear_of_floats) {
  for (bool normalize : {false, true}) {
    for (Outputs outputs : {Outputs::kBytes, Outputs::kTable, Outputs::kFloats}) {
      CheckLinear({70, 36, 72, Int8Input::kStatic, normalize, outputs});
      CheckLinear({9, 13, 5, Int8Input::kStatic, normalize, outputs, 3});
      CheckLinear({3, 240, 100, Int8Input::kStatic, normalize, outputs, 4});
      CheckLinear({1, 1, 9, Int8Input::kStatic, normalize, outputs});
    }
  }
}

TEST(cuda_int8_rows, linear_of_bytes_from_anywhere) {
  for (int64_t shift : {1, 4, 8}) {
    Linear linear({19, 32, 40}, 1);
    linear.bytes.resize(linear.bytes.size() + static_cast<size_t>(shift));
    linear.args.input = linear.bytes.data() + shift;
    linear.Check(Bytes(19 * 40, 0xa5), FewMultiprocessors(1));
  }
}

TEST(cuda_int8_rows, linear_takes_no_dynamic_input) {
  Linear linear({1, 4, 4, Int8Input::kDynamic, false, Outputs::kFloats}, 1);
  const AlignedBuffer packed = Pack(DeviceInt8().linear_packing, linear.args.shape, linear.weights());
  linear.args.packed = packed.data();
  linear.args.rows = 1;
  CHECK_THROWS(std::invalid_argument, "no CUDA kernel",
               DeviceInt8().linear.run(linear.args, FewMultiprocessors(1)));
}

void CheckFfn(int64_t dim, int64_t hidden, int64_t rows, bool with_table) {
  Random random;
  const CudaRun run = FewMultiprocessors(2);
  const Weights up = random.MakeWeights(hidden * dim, Draw::kRandom),
                down = random.MakeWeights(dim * hidden, Draw::kRandom);
  const std::vector<int32_t> up_bias = random.MakeInts(hidden, -3000, 3000),
                             down_bias = random.MakeInts(dim, -3000, 3000);
  const PlainRequantization up_to(random, hidden, dim, with_table);
  const std::vector<float> down_multiplier = random.MakeFloats(dim, 1e-5f, 2e-5f);
  const std::vector<float> stream = random.MakeFloats(2 * rows * dim, kFar - 2.0f, kFar + 3.0f);
  const Int8FfnWeights weights = {
      {up.data(), up_bias.data()}, up_to.Get(), {down.data(), down_bias.data()}, down_multiplier.data()};
  Int8FfnArgs args;
  args.shape = {dim, hidden, 0.0219f, 121, 9, 1e-5f};
  args.stream_stride = dim;
  args.rows = 2 * rows;
  std::vector<float> expected = stream;
  args.stream = expected.data();
  RunPacked(HostInt8().ffn_packing, HostInt8().ffn, args, weights, args.rows, 1);
  CHECK(expected != stream);
  const AlignedBuffer packed = Pack(DeviceInt8().ffn_packing, args.shape, weights);
  args.packed = packed.data();
  args.rows = rows;
  CheckSchedules(stream, expected, "an ffn of " + std::to_string(dim), [&](float* output) {
    args.stream = output;
    DeviceInt8().ffn.run(args, run);
  });
}

TEST(cuda_int8_rows, ffn) {
  CheckFfn(48, 96, 37, true);
  CheckFfn(13, 70, 3, false);
  CheckFfn(144, 288, 32, true);
  CheckFfn(270, 33, 5, true);  // more columns than a block's sums
}

// Values whose quotient by the scale lies between two bytes, out of range, or is none.
std::vector<float> AwkwardValues(Random& random, int64_t count, float scale) {
  std::vector<float> values = random.MakeFloats(count, -200 * scale, 200 * scale);
  for (size_t i = 0; i < values.size(); i += 3) values[i] = scale * (static_cast<float>(i % 40) - 20.5f);
  const float awkward[] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 0.0f, -0.0f};
  std::copy_n(awkward, std::min<size_t>(values.size(), std::size(awkward)), values.begin());
  return values;
}

TEST(cuda_int8_rows, quantize_and_dequantize) {
  for (const auto& [rows, channels] : {std::pair{7, 33}, {1, 1}, {40, 16}}) {
    Random random;
    QuantizeArgs args;
    args.scale = 0.0625f;
    args.zero = 77;
    args.rows = 2 * rows;
    args.channels = args.values_stride = args.bytes_stride = channels;
    std::vector<float> values = AwkwardValues(random, 2 * rows * channels, args.scale);
    Bytes bytes(values.size());
    args.values = values.data();
    args.bytes = bytes.data();
    RunHost(HostInt8().quantize, args, args.rows);
    std::vector<float> real(values.size());
    args.values = real.data();
    RunHost(HostInt8().dequantize, args, args.rows);
    args.rows = rows;
    args.values = values.data();
    CheckSchedules(Bytes(bytes.size(), 0xa5), bytes, "quantize", [&](uint8_t* output) {
      args.bytes = output;
      DeviceInt8().quantize.run(args, FewMultiprocessors(2));
    });
    args.bytes = bytes.data();
    CheckSchedules(std::vector<float>(real.size(), -7.0f), real, "dequantize", [&](float* output) {
      args.values = output;
      DeviceInt8().dequantize.run(args, FewMultiprocessors(2));
    });
  }
}

TEST(cuda_int8_rows, layer_norm) {
  for (const auto& [rows, channels] : {std::pair{5, 144}, {1, 31}, {9, 1}, {35, 240}, {3, 6}}) {
    Random random;
    const std::vector<float> input = random.MakeFloats(2 * rows * channels, kFar - 5.0f, kFar + 9.0f);
    const std::vector<float> gamma = random.MakeFloats(channels, -2.0f, 2.0f),
                             beta = random.MakeFloats(channels, -1.0f, 1.0f);
    Int8LayerNormArgs args = {{}, 0.0173f, 131};
    args.norm.rows = 2 * rows;
    args.norm.channels = args.norm.input_stride = args.norm.output_stride = channels;
    args.norm.input = input.data();
    args.norm.gamma = gamma.data();
    args.norm.beta = beta.data();
    Bytes expected(input.size());
    args.norm.output = expected.data();
    RunHost(HostInt8().layer_norm, args, args.norm.rows);
    args.norm.rows = rows;
    CheckSchedules(Bytes(expected.size(), 0xa5), expected, "a layer norm", [&](uint8_t* output) {
      args.norm.output = output;
      DeviceInt8().layer_norm.run(args, FewMultiprocessors(2));
    });
  }
}

// Rows that differ little from one whose normalised values, enlarged, the shifts take away: what is left are
// the last bits of the moments.
TEST(cuda_int8_rows, layer_norm_to_the_last_bit) {
  constexpr int64_t kRows = 40, kChannels = 52;
  constexpr double kLarge = 1e5;
  Random random;
  const std::vector<float> row = random.MakeFloats(kChannels, -2.0f, 2.0f);
  double mean = 0, variance = 0;
  for (float value : row) mean += value / static_cast<double>(kChannels);
  for (float value : row) variance += (value - mean) * (value - mean) / static_cast<double>(kChannels);
  const std::vector<float> gamma(kChannels, static_cast<float>(kLarge));
  std::vector<float> beta, input = random.MakeFloats(kRows * kChannels, -1e-6f, 1e-6f);
  for (float value : row) {
    beta.push_back(static_cast<float>(-kLarge * (value - mean) / std::sqrt(variance + 1e-5)));
  }
  for (size_t i = 0; i < input.size(); ++i) input[i] += row[i % kChannels];
  Int8LayerNormArgs args = {{}, 0.003f, 128};
  args.norm.rows = kRows;
  args.norm.channels = args.norm.input_stride = args.norm.output_stride = kChannels;
  args.norm.input = input.data();
  args.norm.gamma = gamma.data();
  args.norm.beta = beta.data();
  Bytes expected(input.size());
  args.norm.output = expected.data();
  RunHost(HostInt8().layer_norm, args, kRows);
  CHECK(std::count(expected.begin(), expected.end(), 0) < kRows * kChannels / 2);
  CheckSchedules(Bytes(expected.size(), 0xa5), expected, "a layer norm", [&](uint8_t* output) {
    args.norm.output = output;
    DeviceInt8().layer_norm.run(args, FewMultiprocessors(1));
  });
}

}  // namespace
}  // namespace mvf_test

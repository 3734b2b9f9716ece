#include <limits>
#include <stdexcept>

#include "cuda/simt.h"
#include "cuda_cases.h"
#include "engine/pack.h"

// TF32's own: how floats are rounded, and that products see nothing but rounded ones.
namespace mvf_test {
namespace {

uint32_t Rounded(uint32_t bits) { return cuda::RoundToTf32(FloatOf(bits)); }

TEST(cuda_tf32, rounds_to_the_nearest_and_halves_away_from_zero) {
  CHECK_EQUAL(Rounded(0x3f800fff), 0x3f800000u);
  CHECK_EQUAL(Rounded(0x3f801000), 0x3f802000u);
  CHECK_EQUAL(Rounded(0x3f803000), 0x3f804000u);  // halves do not look for even numbers
  CHECK_EQUAL(Rounded(0xbf801000), 0xbf802000u);
  CHECK_EQUAL(Rounded(0x3fffffff), 0x40000000u);  // into the exponent
  CHECK_EQUAL(Rounded(0x00001000), 0x00002000u);  // a subnormal number
  CHECK_EQUAL(Rounded(0x80000001), 0x80000000u);
}

TEST(cuda_tf32, keeps_infinities_and_what_is_no_number) {
  for (uint32_t sign : {0u, 0x80000000u}) {
    CHECK_EQUAL(Rounded(sign | 0x7f800000u), sign | 0x7f800000u);
    CHECK_EQUAL(Rounded(sign | 0x7f7fffffu), sign | 0x7f800000u);
    for (uint32_t nan : {0x7f800001u, 0x7fc00000u, 0x7fffffffu}) {
      CHECK(std::isnan(FloatOf(Rounded(sign | nan))));
      CHECK_EQUAL(Rounded(sign | nan) & 0x1fffu, 0u);
    }
  }
}

struct UnroundedProduct {
  struct Args {
    uint32_t bits;
  };
  static void Run(const Args& args) {
    float sums[4] = {};
    const uint32_t a[4] = {args.bits, 0, 0, 0}, b[2] = {0, 0};
    cuda::MultiplyFragments(sums, a, b, Tf32{});
  }
};

TEST(cuda_tf32, products_of_what_was_not_rounded_are_refused) {
  const auto run = [](uint32_t bits) {
    cuda::Launch<UnroundedProduct>({bits}, {1, cuda::kWarp, 0}, nullptr);
  };
  run(0x3f802000);
  CHECK_THROWS(std::logic_error, "not rounded to TF32", run(0x3f800001));
}

// A linear layer on two sets of the same numbers.
std::vector<float> RunLinear(const std::vector<float>& weight, const std::vector<float>& input, int64_t rows,
                             const CudaTable& table) {
  LinearArgs args;
  args.shape.in = 40;
  args.shape.out = 24;
  args.rows = rows;
  args.input_stride = args.shape.in;
  args.output_stride = args.shape.out;
  const AlignedBuffer packed = Pack(table.linear_packing, args.shape, LinearWeights{weight.data(), nullptr});
  args.packed = packed.data();
  args.input = input.data();
  std::vector<float> output(static_cast<size_t>(rows * args.shape.out));
  args.output = output.data();
  table.linear.run(args, FewMultiprocessors(1));
  return output;
}

TEST(cuda_tf32, operands_are_rounded_and_nothing_else_is) {
  constexpr int64_t kRows = 19;
  Random random;
  const std::vector<float> weight = random.Make<float>(24 * 40), input = random.Make<float>(kRows * 40);
  const auto round = [](const std::vector<float>& values) { return WidenAll(RoundAll<Tf32>(values)); };
  const std::vector<float> actual = RunLinear(weight, input, kRows, CudaTableTf32());
  CHECK(actual == RunLinear(round(weight), round(input), kRows, CudaTableTf32()));
  // Sums are float: no TF32 among them.
  const std::vector<float> expected = RunLinear(round(weight), round(input), kRows, CudaTableF32());
  CheckClose<float>(actual, expected, 16, "a product of rounded operands");
  CHECK(actual != RunLinear(weight, input, kRows, CudaTableF32()));
}

}  // namespace
}  // namespace mvf_test

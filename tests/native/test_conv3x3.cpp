// What the tests of all tables leave out: maps of many bands and blocks, maps with gaps, images of any
// strides, and that threads change nothing.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "gapped_map.h"
#include "plain_table.h"
#include "sample_plan.h"
#include "short_tables.h"

namespace mvf {
namespace {

using mvf_test::GappedMap;
using mvf_test::PlainTable;
using mvf_test::RandomFloats;
using mvf_test::RunInRanges;
using mvf_test::TablesOfFloats;
using mvf_test::ToleranceOf;

TEST(conv3x3, many_bands_and_blocks_of_maps_with_gaps) {
  RandomFloats floats;
  constexpr int64_t kHeight = 45, kWidth = 38, kIn = 40, kSecond = 21, kOut = 19;
  GappedMap input(kHeight, kWidth, kIn), second(kHeight, kWidth, kSecond);
  input.Fill(floats.Make(kHeight * kWidth * kIn));
  second.Fill(floats.Make(kHeight * kWidth * kSecond));
  const Conv3x3Weights weights{floats.Make(kOut * 9 * (kIn + kSecond)), floats.Make(kOut)};
  for (int64_t stride : {1, 2}) {
    const int64_t height = (kHeight - 1) / stride + 1, width = (kWidth - 1) / stride + 1;
    Conv3x3Args args;
    args.shape = {kIn, kSecond, kOut, stride, Activation::kSilu};
    args.input = input.map();
    args.second = second.map();
    GappedMap expected(height, width, kOut);
    RunInRanges(PlainTable().conv3x3_packing, PlainTable().conv3x3, args, weights, expected, height);
    for (const KernelTable* table : TablesOfFloats()) {
      for (auto algorithm : {ConvAlgorithm::kDirect, ConvAlgorithm::kWinograd2, ConvAlgorithm::kWinograd4}) {
        if (stride == 2 && algorithm != ConvAlgorithm::kDirect) continue;
        args.shape.algorithm = algorithm;
        GappedMap whole(height, width, kOut), parts(height, width, kOut);
        RunInRanges(table->conv3x3_packing, table->conv3x3, args, weights, whole, height);
        RunInRanges(table->conv3x3_packing, table->conv3x3, args, weights, parts, 7);
        const std::string what = std::string(table->name) + " algorithm " +
                                 std::to_string(static_cast<int>(algorithm)) + " stride " +
                                 std::to_string(stride);
        whole.CheckAgainst(expected, ToleranceOf(*table, 5e-6), what);
        if (whole.floats() != parts.floats()) mvf_test::Fail(__FILE__, __LINE__, what + ": ranges differ");
      }
    }
  }
}

TEST(conv3x3, the_stem_reads_images_of_any_strides) {
  RandomFloats floats;
  constexpr int64_t kHeight = 61, kWidth = 203, kChannels = 3, kOut = 17;
  constexpr int64_t kPixels = kHeight * kWidth;
  const float* values = floats.Make(kPixels * kChannels);
  const float* last = values + kPixels * kChannels - 1;
  const Conv3x3Weights weights{floats.Make(kOut * 9 * kChannels), nullptr};
  const Image images[] = {
      {values, kChannels, kHeight, kWidth, kPixels, kWidth, 1},                // planar
      {values, kChannels, kHeight, kWidth, 1, kWidth * kChannels, kChannels},  // interleaved
      {values, kChannels, kHeight, kWidth, kPixels, 1, kHeight},               // transposed
      {last, kChannels, kHeight, kWidth, -kPixels, -kWidth, -1},               // reversed
      {values, kChannels, kHeight / 2, kWidth / 2, kPixels, 2 * kWidth, 2},    // every other pixel
      {values, kChannels, kHeight, kWidth, 0, kWidth, 1},                      // broadcast
  };
  for (const Image& image : images) {
    StemArgs args;
    args.shape = {kChannels, 0, kOut, 2, Activation::kNone};
    args.input = image;
    const int64_t height = (image.height - 1) / 2 + 1, width = (image.width - 1) / 2 + 1;
    GappedMap expected(height, width, kOut);
    RunInRanges(PlainTable().stem_packing, PlainTable().stem, args, weights, expected, height);
    for (const KernelTable* table : TablesOfFloats()) {
      GappedMap whole(height, width, kOut), parts(height, width, kOut);
      RunInRanges(table->stem_packing, table->stem, args, weights, whole, height);
      RunInRanges(table->stem_packing, table->stem, args, weights, parts, 5);
      const std::string what =
          std::string(table->name) + " column stride " + std::to_string(image.column_stride);
      whole.CheckAgainst(expected, ToleranceOf(*table, 5e-6), what);
      if (whole.floats() != parts.floats()) mvf_test::Fail(__FILE__, __LINE__, what + ": ranges differ");
    }
  }
}

}  // namespace
}  // namespace mvf

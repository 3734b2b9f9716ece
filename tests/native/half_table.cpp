#include "half_table.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <type_traits>

#include "base/half.h"
#include "check.h"
#include "kernels/dispatch.h"

namespace mvf_test {
namespace {

using namespace mvf;

const KernelTable& HalfTable() { return BestTable(Precision::kFp16); }

// Copies of an operation's maps in halves. Between a map's pixels, and where outputs will be, lies what no
// kernel may read or write.
class Halves {
 public:
  Map In(const Map& map) {
    Map copy = Out(map);
    for (int64_t y = 0; y < map.height && map.data; ++y) {
      for (int64_t x = 0; x < map.width; ++x) {
        std::transform(map.Pixel<float>(y, x), map.Pixel<float>(y, x) + map.channels, copy.Pixel<Half>(y, x),
                       RoundTo<Half>);
      }
    }
    return copy;
  }
  Map Out(const Map& map) {
    if (!map.data) return map;
    const int64_t size =
        (map.height - 1) * map.row_stride + (map.width - 1) * map.pixel_stride + map.channels;
    std::vector<Half>& halves = made_.emplace_back(static_cast<size_t>(size), Half{kGap});
    Map copy = map;
    copy.data = halves.data();
    return copy;
  }
  // Rows [begin, end) of `from`, which Out made for `to`; fails where anything else was written.
  static void Widen(const Map& from, const Map& to, int64_t begin, int64_t end) {
    for (int64_t y = 0; y < to.height; ++y) {
      for (int64_t x = 0; x < to.width; ++x) {
        const Half* const pixel = from.Pixel<Half>(y, x);
        if (y >= begin && y < end) std::transform(pixel, pixel + to.channels, to.Pixel<float>(y, x), Widened);
        const int64_t gap = x + 1 < to.width ? to.pixel_stride : to.channels;
        const bool is_whole_gap = y < begin || y >= end;
        CHECK(std::all_of(pixel + (is_whole_gap ? 0 : to.channels), pixel + std::max(gap, to.channels),
                          [](Half half) { return half.bits == kGap; }));
      }
    }
  }

 private:
  static constexpr uint16_t kGap = 0x7e5a;  // a NaN
  static float Widened(Half half) { return ToFloat(half); }

  std::deque<std::vector<Half>> made_;
};

Map RowsAsMap(const void* data, int64_t rows, int64_t channels, int64_t stride) {
  return {const_cast<void*>(data), data ? rows : 0, 1, channels, stride, stride};
}

// Operations whose input and output are maps, and some of whose have a second input.
template <class Args, Kernel<Args> KernelTable::*kKernel>
void RunMaps(const Args& args, Range rows, void* scratch) {
  Halves halves;
  Args copy = args;
  if constexpr (std::is_same_v<Args, AttentionArgs>) {
    copy.qkv = halves.In(args.qkv);
  } else if constexpr (!std::is_same_v<Args, StemArgs>) {
    copy.input = halves.In(args.input);
  }
  if constexpr (std::is_same_v<Args, Conv3x3Args>) copy.second = halves.In(args.second);
  // Attention's units are no rows: what others of them have written stays.
  constexpr bool kIsAttention = std::is_same_v<Args, AttentionArgs>;
  copy.output = kIsAttention ? halves.In(args.output) : halves.Out(args.output);
  (HalfTable().*kKernel).run(copy, rows, scratch);
  if constexpr (kIsAttention) {
    Halves::Widen(copy.output, args.output, 0, args.output.height);
  } else {
    Halves::Widen(copy.output, args.output, rows.begin, rows.end);
  }
}

void RunLinear(const LinearArgs& args, Range rows, void* scratch) {
  Halves halves;
  LinearArgs copy = args;
  if (!args.shape.normalize) {
    copy.input = halves.In(RowsAsMap(args.input, args.rows, args.shape.in, args.input_stride)).data;
  }
  if (args.float_output) return HalfTable().linear.run(copy, rows, scratch);
  copy.residual = halves.In(RowsAsMap(args.residual, args.rows, args.shape.out, args.residual_stride)).data;
  const Map output = RowsAsMap(args.output, args.rows, args.shape.out, args.output_stride);
  const Map made = halves.Out(output);
  copy.output = made.data;
  HalfTable().linear.run(copy, rows, scratch);
  Halves::Widen(made, output, rows.begin, rows.end);
}

void RunLayerNorm(const LayerNormArgs& args, Range rows, void* scratch) {
  Halves halves;
  LayerNormArgs copy = args;
  const Map output = RowsAsMap(args.output, args.rows, args.channels, args.output_stride);
  const Map made = halves.Out(output);
  copy.output = made.data;
  HalfTable().layer_norm.run(copy, rows, scratch);
  Halves::Widen(made, output, rows.begin, rows.end);
}

// Once as what the resize of a stream is, of floats, and once of elements.
void RunResize(const ResizeArgs& args, Range rows, void* scratch) {
  HalfTable().resize.run(args, rows, scratch);
  Halves halves;
  ResizeArgs copy = args;
  copy.type = DType::kF16;
  copy.input = halves.In(args.input);
  copy.output = halves.Out(args.output);
  HalfTable().resize.run(copy, rows, scratch);
  std::vector<float> widened(
      static_cast<size_t>(args.output.height * args.output.width * args.output.channels));
  const Map dense = DenseMap(widened.data(), args.output.height, args.output.width, args.output.channels);
  Halves::Widen(copy.output, dense, rows.begin, rows.end);
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    for (int64_t x = 0; x < dense.width; ++x) {
      for (int64_t c = 0; c < dense.channels; ++c) {
        const double of_floats = args.output.Pixel<float>(y, x)[c];
        CHECK(std::abs(dense.Pixel<float>(y, x)[c] - of_floats) <= 1e-3);
      }
    }
  }
}

void RunPool(const GlobalPoolArgs& args, Range channels, void* scratch) {
  Halves halves;
  GlobalPoolArgs copy = args;
  copy.input = halves.In(args.input);
  HalfTable().global_pool.run(copy, channels, scratch);
}

bool IsOfHalves(const KernelTable& table) { return std::strcmp(table.name, "neon_fp16") == 0; }

}  // namespace

std::vector<const KernelTable*> TablesOfFloats() {
  std::vector<const KernelTable*> tables = RunnableTables();
  if (RunnableTables(Precision::kFp16).empty()) return tables;
  static const KernelTable behind_floats = [] {
    KernelTable table = HalfTable();
    table.element = DType::kF32;
    table.linear.run = RunLinear;
    table.conv3x3.run = RunMaps<Conv3x3Args, &KernelTable::conv3x3>;
    table.stem.run = RunMaps<StemArgs, &KernelTable::stem>;
    table.dwconv3x3.run = RunMaps<DwConv3x3Args, &KernelTable::dwconv3x3>;
    table.inverted_residual.run = RunMaps<InvertedResidualArgs, &KernelTable::inverted_residual>;
    table.attention.run = RunMaps<AttentionArgs, &KernelTable::attention>;
    table.layer_norm.run = RunLayerNorm;
    table.resize.run = RunResize;
    table.global_pool.run = RunPool;
    return table;
  }();
  tables.push_back(&behind_floats);
  return tables;
}

double ToleranceOf(const KernelTable& table, double tolerance) {
  constexpr double kHalfTolerance = 5e-3;
  return IsOfHalves(table) ? std::max(tolerance, kHalfTolerance) : tolerance;
}

double MagnitudeOf(const KernelTable& table) { return IsOfHalves(table) ? 1.0 : 1e-6; }

}  // namespace mvf_test

#include "short_tables.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <string>
#include <type_traits>

#include "base/half.h"
#include "check.h"
#include "kernels/dispatch.h"

namespace mvf {

const KernelTable* EmulatedAmxBf16Table();
const KernelTable* EmulatedAmxInt8Table();

}  // namespace mvf

namespace mvf_test {
namespace {

using namespace mvf;

constexpr uint16_t kGap = 0x7fda;  // a NaN of either type

// Copies of an operation's maps in elements. Between a map's pixels, and where outputs will be, lies what no
// kernel may read or write.
template <class Element>
class Copies {
 public:
  Map In(const Map& map) {
    Map copy = Out(map);
    for (int64_t y = 0; y < map.height && map.data; ++y) {
      for (int64_t x = 0; x < map.width; ++x) {
        std::transform(map.Pixel<float>(y, x), map.Pixel<float>(y, x) + map.channels,
                       copy.Pixel<Element>(y, x), RoundTo<Element>);
      }
    }
    return copy;
  }
  Map Out(const Map& map) {
    if (!map.data) return map;
    const int64_t size =
        (map.height - 1) * map.row_stride + (map.width - 1) * map.pixel_stride + map.channels;
    std::vector<Element>& elements = made_.emplace_back(static_cast<size_t>(size), Element{kGap});
    Map copy = map;
    copy.data = elements.data();
    return copy;
  }
  // Rows [begin, end) of `from`, which Out made for `to`; fails where anything else was written.
  static void Widen(const Map& from, const Map& to, int64_t begin, int64_t end) {
    for (int64_t y = 0; y < to.height; ++y) {
      for (int64_t x = 0; x < to.width; ++x) {
        const Element* const pixel = from.Pixel<Element>(y, x);
        if (y >= begin && y < end) std::transform(pixel, pixel + to.channels, to.Pixel<float>(y, x), Widened);
        const int64_t gap = x + 1 < to.width ? to.pixel_stride : to.channels;
        const bool is_whole_gap = y < begin || y >= end;
        CHECK(std::all_of(pixel + (is_whole_gap ? 0 : to.channels), pixel + std::max(gap, to.channels),
                          [](Element element) { return element.bits == kGap; }));
      }
    }
  }

 private:
  static float Widened(Element element) { return ToFloat(element); }

  std::deque<std::vector<Element>> made_;
};

Map RowsAsMap(const void* data, int64_t rows, int64_t channels, int64_t stride) {
  return {const_cast<void*>(data), data ? rows : 0, 1, channels, stride, stride};
}

// A table of elements and what calls it with floats.
template <class Element, const KernelTable* (*kTable)()>
struct BehindFloats {
  // Operations whose input and output are maps, and some of whose have a second input.
  template <class Args, Kernel<Args> KernelTable::*kKernel>
  static void RunMaps(const Args& args, Range rows, void* scratch) {
    Copies<Element> copies;
    Args copy = args;
    if constexpr (std::is_same_v<Args, AttentionArgs>) {
      copy.qkv = copies.In(args.qkv);
    } else if constexpr (!std::is_same_v<Args, StemArgs>) {
      copy.input = copies.In(args.input);
    }
    if constexpr (std::is_same_v<Args, Conv3x3Args>) copy.second = copies.In(args.second);
    // Attention's units are no rows: what others of them have written stays.
    constexpr bool kIsAttention = std::is_same_v<Args, AttentionArgs>;
    copy.output = kIsAttention ? copies.In(args.output) : copies.Out(args.output);
    (kTable()->*kKernel).run(copy, rows, scratch);
    if constexpr (kIsAttention) {
      copies.Widen(copy.output, args.output, 0, args.output.height);
    } else {
      copies.Widen(copy.output, args.output, rows.begin, rows.end);
    }
  }

  static void RunLinear(const LinearArgs& args, Range rows, void* scratch) {
    Copies<Element> copies;
    LinearArgs copy = args;
    if (!args.shape.normalize) {
      copy.input = copies.In(RowsAsMap(args.input, args.rows, args.shape.in, args.input_stride)).data;
    }
    if (args.float_output) return kTable()->linear.run(copy, rows, scratch);
    copy.residual = copies.In(RowsAsMap(args.residual, args.rows, args.shape.out, args.residual_stride)).data;
    const Map output = RowsAsMap(args.output, args.rows, args.shape.out, args.output_stride);
    const Map made = copies.Out(output);
    copy.output = made.data;
    kTable()->linear.run(copy, rows, scratch);
    copies.Widen(made, output, rows.begin, rows.end);
  }

  static void RunLayerNorm(const LayerNormArgs& args, Range rows, void* scratch) {
    Copies<Element> copies;
    LayerNormArgs copy = args;
    const Map output = RowsAsMap(args.output, args.rows, args.channels, args.output_stride);
    const Map made = copies.Out(output);
    copy.output = made.data;
    kTable()->layer_norm.run(copy, rows, scratch);
    copies.Widen(made, output, rows.begin, rows.end);
  }

  // Once as what the resize of a stream is, of floats, and once of elements.
  static void RunResize(const ResizeArgs& args, Range rows, void* scratch) {
    kTable()->resize.run(args, rows, scratch);
    Copies<Element> copies;
    ResizeArgs copy = args;
    copy.type = kTable()->element;
    copy.input = copies.In(args.input);
    copy.output = copies.Out(args.output);
    kTable()->resize.run(copy, rows, scratch);
    std::vector<float> widened(
        static_cast<size_t>(args.output.height * args.output.width * args.output.channels));
    const Map dense = DenseMap(widened.data(), args.output.height, args.output.width, args.output.channels);
    copies.Widen(copy.output, dense, rows.begin, rows.end);
    const double tolerance = std::is_same_v<Element, Half> ? 1e-3 : 8e-3;
    for (int64_t y = rows.begin; y < rows.end; ++y) {
      for (int64_t x = 0; x < dense.width; ++x) {
        for (int64_t c = 0; c < dense.channels; ++c) {
          const double of_floats = args.output.Pixel<float>(y, x)[c];
          CHECK(std::abs(dense.Pixel<float>(y, x)[c] - of_floats) <= tolerance);
        }
      }
    }
  }

  static void RunPool(const GlobalPoolArgs& args, Range channels, void* scratch) {
    Copies<Element> copies;
    GlobalPoolArgs copy = args;
    copy.input = copies.In(args.input);
    kTable()->global_pool.run(copy, channels, scratch);
  }

  static const KernelTable* Table() {
    static const KernelTable behind_floats = [] {
      KernelTable table = *kTable();
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
    return &behind_floats;
  }
};

bool CanRun(const std::string& name, Precision precision) {
  const std::vector<const KernelTable*> tables = RunnableTables(precision);
  return std::any_of(tables.begin(), tables.end(), [&](const auto* table) { return table->name == name; });
}

bool IsOfBf16(const KernelTable& table) {
  return std::string(table.name) == "avx512_bf16" || std::string(table.name) == "amx_bf16";
}
bool IsOfHalves(const KernelTable& table) { return std::string(table.name) == "neon_fp16"; }

}  // namespace

std::vector<const KernelTable*> RunnableOrEmulatedTables() {
  std::vector<const KernelTable*> tables = RunnableTables();
#if defined(__x86_64__)
  if (CanRun("avx512_vnni", Precision::kFp32)) tables.push_back(EmulatedAmxInt8Table());
#endif
  return tables;
}

std::vector<const KernelTable*> TablesOfFloats() {
  std::vector<const KernelTable*> tables = RunnableTables();
#if defined(__x86_64__)
  if (CanRun("avx512_bf16", Precision::kBf16)) {
    tables.push_back(BehindFloats<Bf16, Avx512Bf16Table>::Table());
    tables.push_back(BehindFloats<Bf16, EmulatedAmxBf16Table>::Table());
  }
  if (CanRun("amx_bf16", Precision::kBf16)) tables.push_back(BehindFloats<Bf16, AmxBf16Table>::Table());
#elif defined(__aarch64__)
  if (CanRun("neon_fp16", Precision::kFp16)) tables.push_back(BehindFloats<Half, NeonFp16Table>::Table());
#endif
  return tables;
}

double ToleranceOf(const KernelTable& table, double tolerance) {
  constexpr double kHalfTolerance = 5e-3, kBf16Tolerance = 3e-2;
  if (IsOfBf16(table)) return std::max(tolerance, kBf16Tolerance);
  return IsOfHalves(table) ? std::max(tolerance, kHalfTolerance) : tolerance;
}

double MagnitudeOf(const KernelTable& table) { return IsOfBf16(table) || IsOfHalves(table) ? 1.0 : 1e-6; }

double LargestOf(const KernelTable& table) {
  return IsOfHalves(table) ? 65504.0 : std::numeric_limits<float>::max();
}

}  // namespace mvf_test

// The gradient of a linear's weight: a matrix multiply whose K are the rows, as a sum of outer products. Both
// sides are read as they lie: a row's upstream gradients are broadcast, its input comes in vectors.
#pragma once

namespace mvf {
namespace {

inline size_t WeightGradientScratchBytes(const WeightGradientArgs&) { return 0; }

// Rows that are multiplied at once: they stay in the second-level cache from tile to tile.
inline int64_t OuterProductRows(int64_t in, int64_t out) {
  constexpr int64_t kBlockBytes = 256 * 1024;
  return Max(kBlockBytes / ((in + out) * int64_t{sizeof(float)}), 64);
}

// A matrix whose rows are `stride` floats apart.
template <class Element>
struct Rows {
  Element* data;
  int64_t stride;
};

// sums[o, i] += sum_m left[m, o] * right[m, i] for kHeight values of o from the first on and kVectors vectors
// of i.
template <int kHeight, int kVectors, class Lanes>
__attribute__((noinline)) void OuterProductTile(Rows<const float> left, Rows<const float> right, int64_t rows,
                                                Rows<float> sums, Lanes last) {
  constexpr int kLanes = Vec::kLanes, kLast = kVectors - 1;
  Vec sum[kHeight][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kHeight; ++i) {
    float* const to = sums.data + i * sums.stride;
#pragma GCC unroll 3
    for (int j = 0; j < kLast; ++j) sum[i][j] = Vec::Load(to + j * kLanes);
    sum[i][kLast] = last.Load(to + kLast * kLanes);
  }
  for (int64_t m = 0; m < rows; ++m) {
    Vec column[kVectors];
#pragma GCC unroll 3
    for (int j = 0; j < kLast; ++j) column[j] = Vec::Load(right.data + j * kLanes);
    column[kLast] = last.Load(right.data + kLast * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; ++i) {
      const Vec row = Vec::Set(left.data[i]);
#pragma GCC unroll 3
      for (int j = 0; j < kVectors; ++j) sum[i][j] = MulAdd(row, column[j], sum[i][j]);
    }
    left.data += left.stride;
    right.data += right.stride;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kHeight; ++i) {
    float* const to = sums.data + i * sums.stride;
#pragma GCC unroll 3
    for (int j = 0; j < kLast; ++j) sum[i][j].Store(to + j * kLanes);
    last.Store(sum[i][kLast], to + kLast * kLanes);
  }
}

template <int kHeight, int kVectors, class Lanes>
void OuterProductTiles(Rows<const float> left, int64_t count, Rows<const float> right, int64_t rows,
                       Rows<float> sums, Lanes last) {
  int64_t o = 0;
  for (; o + kHeight <= count; o += kHeight) {
    OuterProductTile<kHeight, kVectors>({left.data + o, left.stride}, right, rows,
                                        {sums.data + o * sums.stride, sums.stride}, last);
  }
  if constexpr (kHeight > 1) {
    if (o < count) {
      OuterProductTiles<(kHeight + 1) / 2, kVectors>({left.data + o, left.stride}, count - o, right, rows,
                                                     {sums.data + o * sums.stride, sums.stride}, last);
    }
  }
}

// sums[o, i] += sum_m left[m, o] * right[m, i] for o < count, i < columns.
inline void AddOuterProducts(Rows<const float> left, int64_t count, Rows<const float> right, int64_t columns,
                             int64_t rows, Rows<float> sums) {
  ForEachPanel(columns, 0, [&](int vectors, int64_t column, int64_t) {
    const Rows<const float> from = {right.data + column, right.stride};
    const Rows<float> to = {sums.data + column, sums.stride};
    const auto multiply = [&](auto lanes) {
      if (vectors == 3) return OuterProductTiles<TileRows(3), 3>(left, count, from, rows, to, lanes);
      if (vectors == 2) return OuterProductTiles<TileRows(2), 2>(left, count, from, rows, to, lanes);
      return OuterProductTiles<TileRows(1), 1>(left, count, from, rows, to, lanes);
    };
    const int64_t left_over = columns - column - (vectors - 1) * Vec::kLanes;
    if (left_over >= Vec::kLanes) return multiply(AllLanes{});
    multiply(SomeLanes{static_cast<int>(left_over)});
  });
}

inline void WeightGradientRun(const WeightGradientArgs& args, Range units, void*) {
  const int64_t block = OuterProductRows(args.in, args.out), count = units.end - units.begin;
  const Rows<float> gradient = {args.gradient + units.begin * args.gradient_stride, args.gradient_stride};
  for (int64_t row = 0; row < count; ++row) ZeroElements(gradient.data + row * gradient.stride, args.in);
  for (int64_t first = 0; first < args.rows; first += block) {
    AddOuterProducts({args.upstream + first * args.upstream_stride + units.begin, args.upstream_stride},
                     count, {args.input + first * args.input_stride, args.input_stride}, args.in,
                     Min(block, args.rows - first), gradient);
  }
}

}  // namespace
}  // namespace mvf

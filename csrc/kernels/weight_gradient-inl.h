// The gradient of a linear's weight: a matrix multiply whose K are the rows. Rows go in blocks, whose input
// becomes panels and whose upstream gradients are transposed.
#pragma once

namespace mvf {
namespace {

// Rows of a block: its panels fill half of a small second-level cache.
inline int64_t WeightGradientBlock(const WeightGradientArgs& args) {
  constexpr int64_t kPanelBytes = 256 * 1024;
  const int64_t width = RoundUp(args.in, Vec::kLanes) * int64_t{sizeof(float)};
  const int64_t fitting = Max(kPanelBytes / width, 64);
  return RoundUp(Min(fitting, args.rows), Vec::kLanes);
}

inline size_t WeightGradientScratchBytes(const WeightGradientArgs& args) {
  const int64_t block = WeightGradientBlock(args);
  const int64_t transposed = RoundUp(args.out, Vec::kLanes) * block;
  return static_cast<size_t>(transposed + PanelSlots(args.in, block)) * sizeof(float);
}

// from[row][column] to to[column][row] of `pitch` rows; zeros behind the last row up to whole vectors.
inline void TransposeRows(const float* from, int64_t stride, int64_t rows, int64_t columns, int64_t pitch,
                          float* to) {
  for (int64_t first = 0; first < rows; first += Vec::kLanes) {
    ForEachVector(0, columns, [&](int64_t column, auto lanes) {
      Vec tile[Vec::kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < Vec::kLanes; ++i) {
        tile[i] = first + i < rows ? lanes.Load(from + (first + i) * stride + column) : Vec::Zero();
      }
      Transpose(tile);
#pragma GCC unroll 16
      for (int i = 0; i < Vec::kLanes; ++i) tile[i].Store(to + (column + i) * pitch + first);
    });
  }
}

inline void WeightGradientRun(const WeightGradientArgs& args, Range units, void* scratch) {
  const int64_t block = WeightGradientBlock(args), count = units.end - units.begin;
  float* const transposed = static_cast<float*>(scratch);
  float* const panels = transposed + RoundUp(args.out, Vec::kLanes) * block;
  float* const gradient = args.gradient + units.begin * args.gradient_stride;
  const Destination<float> to = {gradient, args.gradient_stride, gradient, args.gradient_stride};
  for (int64_t row = 0; row < count; ++row) ZeroElements(gradient + row * args.gradient_stride, args.in);
  for (int64_t first = 0; first < args.rows; first += block) {
    const int64_t rows = Min(block, args.rows - first);
    const float* const input = args.input + first * args.input_stride;
    TransposeRows(args.upstream + first * args.upstream_stride + units.begin, args.upstream_stride, rows,
                  count, block, transposed);
    const Operand<float> operand = {transposed, block, 0, 1, rows};
    ForEachPanel(args.in, block, [&](int vectors, int64_t column, int64_t slot) {
      const int64_t width = vectors * Vec::kLanes;
      FillPanelRows(rows, Min(width, args.in - column), width, panels + slot,
                    [&](int64_t row) { return input + row * args.input_stride + column; });
      PanelRows<DotF32, Activation::kNone, true, false>(vectors, operand, 0, count, panels + slot, to, column,
                                                        args.in - column);
    });
  }
}

}  // namespace
}  // namespace mvf

// From an operation's arguments to a launch: which tile, how many blocks, how much shared memory.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "cuda/attention-inl.h"
#include "cuda/cuda_table.h"
#include "cuda/ffn-inl.h"
#include "cuda/gemm-inl.h"
#include "cuda/inverted_residual-inl.h"
#include "cuda/launch-inl.h"
#include "cuda/maps-inl.h"

namespace mvf::cuda {

// ---- products -------------------------------------------------------------------------------------------

using TallTile = GemmTile<4, 1, 2, 4>;   // 128 x 32
using SmallTile = GemmTile<2, 2, 1, 2>;  // 32 x 32: more blocks where there are few rows

// 128 x 64; in float half as high, for a lane holds more of each operand.
template <class Element>
using LargeTile = GemmTile<2, 2, sizeof(Element) == 2 ? 4 : 2, 4>;

template <class Tile, class Epilogue>
int64_t BlocksOf(const Epilogue& epilogue) {
  return DivideUp(epilogue.rows, Tile::kRows) * DivideUp(epilogue.columns, Tile::kColumns);
}

template <class Kernel>
void LaunchGemm(const typename Kernel::Source::Args& source, const typename Kernel::Weights& weights,
                const typename Kernel::Epilogue& epilogue, const CudaRun& run) {
  using Tile = typename Kernel::Tile;
  const typename Kernel::Args args = {source, weights, epilogue,
                                      Narrowed(DivideUp(epilogue.columns, Tile::kColumns))};
  LaunchBlocks<Kernel>(args, BlocksOf<Tile>(epilogue), Kernel::kThreads, Kernel::kSharedBytes, run);
}

// Large tiles read less, but every multiprocessor should have blocks; few columns take the tall tile.
template <class Element, template <class, class> class Source, class SourceArgs>
void LaunchBestGemm(const SourceArgs& source, const PackedMatrix<Element>& weights,
                    const Epilogue<Element>& epilogue, const CudaRun& run) {
  const int64_t enough = 2 * run.multiprocessors;
  if (epilogue.columns <= TallTile::kColumns && BlocksOf<TallTile>(epilogue) >= enough) {
    LaunchGemm<GemmKernel<Element, TallTile, Source>>(source, weights, epilogue, run);
  } else if (BlocksOf<LargeTile<Element>>(epilogue) >= enough) {
    LaunchGemm<GemmKernel<Element, LargeTile<Element>, Source>>(source, weights, epilogue, run);
  } else {
    LaunchGemm<GemmKernel<Element, SmallTile, Source>>(source, weights, epilogue, run);
  }
}

template <class Element>
Epilogue<Element> MakeEpilogue(const PackedMatrix<Element>& weights, void* output, int64_t output_stride,
                               int64_t rows, int64_t columns, Activation activation, bool float_output) {
  Epilogue<Element> epilogue = {};
  epilogue.bias = weights.bias;
  epilogue.output = output;
  epilogue.output_stride = output_stride;
  epilogue.rows = rows;
  epilogue.columns = Narrowed(columns);
  epilogue.silu = activation == Activation::kSilu;
  epilogue.float_output = float_output;
  const size_t pair = 2 * (float_output ? sizeof(float) : sizeof(Element));
  epilogue.pairs = columns % 2 == 0 && output_stride % 2 == 0 && IsAligned(output, pair);
  return epilogue;
}

template <class Element>
void RunLinear(const LinearArgs& args, const CudaRun& run) {
  const LinearShape& shape = args.shape;
  const int64_t rows = args.rows * run.images;
  const PackedMatrix<Element> weights(LinearPacking<Element>::Places(shape), args.packed);
  Epilogue<Element> epilogue = MakeEpilogue(weights, args.output, args.output_stride, rows, shape.out,
                                            shape.activation, args.float_output);
  if (args.residual) {
    epilogue.residual = args.residual;
    epilogue.residual_stride = args.residual_stride;
    const size_t pair = 2 * (args.float_output ? sizeof(float) : sizeof(Element));
    epilogue.pairs = epilogue.pairs && args.residual_stride % 2 == 0 && IsAligned(args.residual, pair);
  }
  const int depth = Narrowed(shape.in);
  if (shape.normalize) {
    const NormalizedArgs source = {static_cast<const float*>(args.input), args.input_stride, rows, depth,
                                   shape.epsilon};
    LaunchBestGemm<Element, NormalizedSource>(source, weights, epilogue, run);
  } else {
    constexpr int64_t kWide = kUnit<Element>;
    const bool whole = shape.in % kWide == 0 && args.input_stride % kWide == 0 && IsAligned(args.input, 16);
    const RowsArgs<Element> source = {static_cast<const Element*>(args.input), args.input_stride, rows, depth,
                                      whole};
    LaunchBestGemm<Element, RowsSource>(source, weights, epilogue, run);
  }
}

// ---- convolutions ---------------------------------------------------------------------------------------

template <class Pixels>
WindowArgs<Pixels> MakeWindows(const Pixels& pixels, int64_t height, int64_t width, const Map& output,
                               int64_t stride, int64_t images) {
  Narrowed(images);
  Narrowed(stride * height);
  return {pixels,
          images * output.height * output.width,
          Narrowed(height),
          Narrowed(width),
          Narrowed(output.height),
          Narrowed(output.width),
          static_cast<int>(stride)};
}

template <class Element, template <class, class> class Source, class Pixels>
void LaunchWindows(const WindowArgs<Pixels>& windows, const Conv3x3Shape& shape, const void* packed,
                   const Map& output, const CudaRun& run) {
  const PackedMatrix<Element> weights(ConvPacking<Element>::Places(shape), packed);
  const Epilogue<Element> epilogue = MakeEpilogue(weights, output.data, output.pixel_stride, windows.rows,
                                                  shape.out, shape.activation, false);
  LaunchBestGemm<Element, Source>(windows, weights, epilogue, run);
}

template <class Element>
void RunConv3x3(const Conv3x3Args& args, const CudaRun& run) {
  constexpr int64_t kWide = kUnit<Element>;
  const Conv3x3Shape& shape = args.shape;
  const bool two = shape.in_second > 0;
  const bool whole = shape.in % kWide == 0 && shape.in_second % kWide == 0 &&
                     IsAligned(args.input.data, 16) && (!two || IsAligned(args.second.data, 16));
  const MapPixels<Element> pixels = {static_cast<const Element*>(args.input.data),
                                     static_cast<const Element*>(two ? args.second.data : nullptr),
                                     Narrowed(shape.in), Narrowed(shape.in_second), whole};
  LaunchWindows<Element, MapSource>(
      MakeWindows(pixels, args.input.height, args.input.width, args.output, shape.stride, run.images), shape,
      args.packed, args.output, run);
}

template <class Element>
void RunStem(const StemArgs& args, const CudaRun& run) {
  const Image& image = args.input;
  const ImagePixels<Element> pixels = {image.data,       run.image_stride,    image.channel_stride,
                                       image.row_stride, image.column_stride, Narrowed(image.channels)};
  LaunchWindows<Element, ImageSource>(
      MakeWindows(pixels, image.height, image.width, args.output, args.shape.stride, run.images), args.shape,
      args.packed, args.output, run);
}

// The largest tile of output pixels that fits and leaves no multiprocessor idle, else the smallest.
template <class Kernel, class Args>
HaloTile ChooseTile(const Args& args, const CudaRun& run) {
  const auto stride = static_cast<int>(args.shape.stride);
  const HaloTile smallest(4, 4, stride);
  for (const auto& [height, width] : {std::pair{8, 8}, {4, 8}}) {
    const HaloTile tile(height, width, stride);
    const int64_t blocks =
        run.images * DivideUp(args.output.height, height) * DivideUp(args.output.width, width);
    // Two blocks to a multiprocessor hide each other's barriers.
    const bool fits = 2 * Kernel::SharedBytes(args.shape.in, tile) <= run.shared_bytes;
    if (fits && blocks >= 2 * run.multiprocessors) return tile;
  }
  return smallest;
}

template <class Element, int kTiles>
void LaunchInvertedResidual(const InvertedResidualArgs& args, const CudaRun& run) {
  using Kernel = InvertedResidualKernel<Element, kTiles>;
  const InvertedResidualShape& shape = args.shape;
  const InvertedResidualPlaces places = InvertedResidualPacking<Element>::Places(shape);
  const auto* packed = static_cast<const std::byte*>(args.packed);
  typename Kernel::Args launch = {};
  launch.expand = PackedMatrix<Element>(places.expand, packed);
  launch.project = PackedMatrix<Element>(places.project, packed);
  launch.taps = reinterpret_cast<const float*>(packed + places.taps);
  launch.taps_bias = reinterpret_cast<const float*>(packed + places.taps_bias);
  launch.padded_channels = Narrowed(places.channels);
  launch.input = static_cast<const Element*>(args.input.data);
  launch.output = static_cast<Element*>(args.output.data);
  launch.height = Narrowed(args.input.height);
  launch.width = Narrowed(args.input.width);
  launch.out_height = Narrowed(args.output.height);
  launch.out_width = Narrowed(args.output.width);
  launch.tile = ChooseTile<Kernel>(args, run);
  launch.tiles_down = Narrowed(DivideUp(args.output.height, launch.tile.height));
  launch.tiles_across = Narrowed(DivideUp(args.output.width, launch.tile.width));
  launch.stride = static_cast<int>(shape.stride);
  launch.in = Narrowed(shape.in);
  launch.out = Narrowed(shape.out);
  launch.residual = shape.residual;
  launch.whole_units = shape.in % kUnit<Element> == 0 && IsAligned(args.input.data, 16);
  LaunchBlocks<Kernel>(launch, run.images * launch.tiles_down * launch.tiles_across, Kernel::kThreads,
                       Kernel::SharedBytes(shape.in, launch.tile), run);
}

template <class Element>
void RunInvertedResidual(const InvertedResidualArgs& args, const CudaRun& run) {
  constexpr int64_t kFew = 64;
  if (args.shape.out <= kFew) {
    LaunchInvertedResidual<Element, 2>(args, run);
  } else {
    LaunchInvertedResidual<Element, 5>(args, run);
  }
}

// ---- the transformer ------------------------------------------------------------------------------------

template <class Element>
void RunFfn(const FfnArgs& args, const CudaRun& run) {
  using Kernel = FfnKernel<Element, 8>;
  const TwoMatrixPlaces places = FfnPacking<Element>::Places(args.shape);
  typename Kernel::Args launch = {};
  launch.up = PackedMatrix<Element>(places.first, args.packed);
  launch.down = PackedMatrix<Element>(places.second, args.packed);
  launch.stream = args.stream;
  launch.stride = args.stream_stride;
  launch.rows = args.rows * run.images;
  launch.dim = Narrowed(args.shape.dim);
  launch.hidden = Narrowed(args.shape.hidden);
  launch.epsilon = args.shape.epsilon;
  LaunchBlocks<Kernel>(launch, DivideUp(launch.rows, kBlockRows), Kernel::kThreads,
                       Kernel::SharedBytes(args.shape.dim), run);
}

template <class Element, int kHeadDim>
void LaunchAttention(const AttentionArgs& args, const CudaRun& run) {
  using Kernel = AttentionKernel<Element, kHeadDim>;
  typename Kernel::Args launch = {};
  launch.qkv = static_cast<const Element*>(args.qkv.data);
  launch.output = static_cast<Element*>(args.output.data);
  launch.pixels = args.qkv.height * args.qkv.width;
  launch.width = Narrowed(args.qkv.width);
  launch.heads = Narrowed(args.heads);
  launch.head_dim = Narrowed(args.output.channels / args.heads);
  launch.patch_height = Narrowed(args.patch_height);
  launch.patch_width = Narrowed(args.patch_width);
  launch.tokens_across = Narrowed(args.qkv.width / args.patch_width);
  launch.tokens = Narrowed(args.qkv.height / args.patch_height * launch.tokens_across);
  for (int bytes : {16, 8, 4}) {
    const size_t head_bytes = static_cast<size_t>(launch.head_dim) * sizeof(Element);
    const auto unit = static_cast<size_t>(bytes);
    if (launch.unit == 0 && head_bytes % unit == 0 && IsAligned(args.qkv.data, unit)) launch.unit = bytes;
  }
  const int64_t warps = std::min<int64_t>(Kernel::kMaxWarps, DivideUp(launch.tokens, Kernel::kQueries));
  launch.query_blocks = Narrowed(DivideUp(launch.tokens, warps * Kernel::kQueries));
  const int64_t units = run.images * args.patch_height * args.patch_width * args.heads;
  LaunchBlocks<Kernel>(launch, units * launch.query_blocks, static_cast<int>(warps) * kWarp,
                       Kernel::SharedBytes(static_cast<int>(warps)), run);
}

inline void CheckHeadDim(int64_t head_dim) {
  if (head_dim <= kMaxCudaHeadDim) return;
  throw std::invalid_argument("attention heads of " + std::to_string(head_dim) +
                              " channels; CUDA kernels take at most " + std::to_string(kMaxCudaHeadDim));
}

template <class Element>
void RunAttention(const AttentionArgs& args, const CudaRun& run) {
  const int64_t head_dim = args.output.channels / args.heads;
  CheckHeadDim(head_dim);
  if (head_dim <= 16) return LaunchAttention<Element, 16>(args, run);
  if (head_dim <= 32) return LaunchAttention<Element, 32>(args, run);
  if (head_dim <= 48) return LaunchAttention<Element, 48>(args, run);
  LaunchAttention<Element, 64>(args, run);
}

// ---- the rest -------------------------------------------------------------------------------------------

template <class Element>
void RunLayerNorm(const LayerNormArgs& args, const CudaRun& run) {
  using Kernel = LayerNormKernel<Element>;
  const int64_t rows = args.rows * run.images;
  const typename Kernel::Args launch = {args.input,
                                        args.input_stride,
                                        static_cast<Element*>(args.output),
                                        args.output_stride,
                                        args.gamma,
                                        args.beta,
                                        rows,
                                        Narrowed(args.channels),
                                        args.epsilon};
  LaunchBlocks<Kernel>(launch, DivideUp(rows, Kernel::kRows), Kernel::kThreads, 0, run);
}

template <class Kernel>
void LaunchResize(const ResizeArgs& args, const CudaRun& run) {
  using Element = typename Kernel::Element;
  const Map &input = args.input, &output = args.output;
  const int64_t elements = run.images * output.height * output.width * output.channels;
  const typename Kernel::Args launch = {static_cast<const Element*>(input.data),
                                        static_cast<Element*>(output.data),
                                        elements,
                                        Narrowed(output.channels),
                                        Narrowed(input.height),
                                        Narrowed(input.width),
                                        Narrowed(output.height),
                                        Narrowed(output.width)};
  LaunchBlocks<Kernel>(launch, DivideUp(elements, Kernel::kThreads), Kernel::kThreads, 0, run);
}

template <class Element>
void RunResize(const ResizeArgs& args, const CudaRun& run) {
  args.type == DType::kF32 ? LaunchResize<ResizeKernel<float>>(args, run)
                           : LaunchResize<ResizeKernel<Element>>(args, run);
}

template <class Element>
void RunGlobalPool(const GlobalPoolArgs& args, const CudaRun& run) {
  using Kernel = GlobalPoolKernel<Element>;
  const int channel_blocks = Narrowed(DivideUp(args.input.channels, kWarp));
  const typename Kernel::Args launch = {static_cast<const Element*>(args.input.data),
                                        args.output,
                                        Narrowed(args.input.height * args.input.width),
                                        Narrowed(args.input.channels),
                                        channel_blocks,
                                        args.float_output};
  LaunchBlocks<Kernel>(launch, run.images * channel_blocks, Kernel::kThreads, Kernel::kSharedBytes, run);
}

template <class Element>
void LaunchPlanar(const PlanarArgs& args, const CudaRun& run) {
  using Kernel = PlanarKernel<Element>;
  const int64_t pixels = args.map.height * args.map.width;
  const int64_t elements = run.images * pixels * args.map.channels;
  const typename Kernel::Args launch = {static_cast<const Element*>(args.map.data), args.output, elements,
                                        pixels, Narrowed(args.map.channels)};
  LaunchBlocks<Kernel>(launch, DivideUp(elements, Kernel::kThreads), Kernel::kThreads, 0, run);
}

template <class Element>
void RunPlanar(const PlanarArgs& args, const CudaRun& run) {
  args.type == DType::kF32 ? LaunchPlanar<float>(args, run) : LaunchPlanar<Element>(args, run);
}

}  // namespace mvf::cuda

// launchers-inl.h for the 8-bit kernels.
#pragma once

#include "cuda/int8_attention-inl.h"
#include "cuda/int8_ffn-inl.h"
#include "cuda/int8_gemm-inl.h"
#include "cuda/int8_inverted_residual-inl.h"
#include "cuda/int8_maps-inl.h"
#include "cuda/int8_weights.h"
#include "cuda/launchers-inl.h"

namespace mvf::cuda {

// How many of sixteen bytes can be copied at once; see CopyBytes16.
inline int CopyUnit(const void* data, std::initializer_list<int64_t> widths) {
  for (int unit : {16, 8, 4}) {
    bool divides = IsAligned(data, static_cast<size_t>(unit));
    for (int64_t width : widths) divides = divides && width % unit == 0;
    if (divides) return unit;
  }
  return 1;
}

// ---- products -------------------------------------------------------------------------------------------

using SmallInt8Tile = GemmTile<2, 1, 1, 4>;  // 32 x 32: more blocks where there are few rows
using LargeInt8Tile = LargeTile<Half>;

// As LaunchBestGemm.
template <template <class, class> class Source, class Large = LargeInt8Tile, class SourceArgs>
void LaunchBestInt8Gemm(const SourceArgs& source, const PackedInt8Matrix& weights,
                        const Int8Epilogue& epilogue, const CudaRun& run) {
  const int64_t enough = 2 * run.multiprocessors;
  if (epilogue.columns <= TallTile::kColumns && BlocksOf<TallTile>(epilogue) >= enough) {
    LaunchGemm<Int8GemmKernel<TallTile, Source>>(source, weights, epilogue, run);
  } else if (BlocksOf<Large>(epilogue) >= enough) {
    LaunchGemm<Int8GemmKernel<Large, Source>>(source, weights, epilogue, run);
  } else {
    LaunchGemm<Int8GemmKernel<SmallInt8Tile, Source>>(source, weights, epilogue, run);
  }
}

inline Int8Epilogue MakeInt8Epilogue(const PackedInt8Matrix& weights, void* output, int64_t output_stride,
                                     int64_t rows, int64_t columns, Int8Output kind) {
  Int8Epilogue epilogue = {};
  epilogue.ends = weights.columns;
  epilogue.output = output;
  epilogue.output_stride = output_stride;
  epilogue.rows = rows;
  epilogue.columns = Narrowed(columns);
  epilogue.kind = kind;
  epilogue.runs = columns % kRun == 0 && output_stride % kRun == 0 && IsAligned(output, kRun);
  return epilogue;
}

inline void RunInt8Linear(const Int8LinearArgs& args, const CudaRun& run) {
  const Int8LinearShape& shape = args.shape;
  const int64_t rows = args.rows * run.images;
  const int depth = Narrowed(shape.in);
  const PackedInt8Matrix weights(Int8LinearPacking::Places(shape), args.packed);
  Int8Epilogue epilogue =
      args.sums ? MakeInt8Epilogue(weights, args.sums, shape.out, rows, shape.out, Int8Output::kSums)
                : MakeInt8Epilogue(weights, args.output, args.output_stride, rows, shape.out,
                                   shape.float_output ? Int8Output::kFloats : Int8Output::kBytes);
  if (args.residual) {
    epilogue.residual = args.residual;
    epilogue.residual_stride = args.residual_stride;
    epilogue.runs = epilogue.runs && args.residual_stride % kRun == 0 && IsAligned(args.residual, kRun);
  }
  switch (shape.input) {
    case Int8Input::kBytes: {
      const auto* data = static_cast<const uint8_t*>(args.input);
      const ByteRowsArgs source = {data, args.input_stride, rows, depth,
                                   CopyUnit(data, {shape.in, args.input_stride})};
      return LaunchBestInt8Gemm<ByteRowsSource>(source, weights, epilogue, run);
    }
    case Int8Input::kStatic: {
      const bool whole = args.input_stride % 4 == 0 && IsAligned(args.input, 16);
      const QuantizedRowsArgs source = {static_cast<const float*>(args.input),
                                        args.input_stride,
                                        rows,
                                        depth,
                                        whole,
                                        shape.normalize,
                                        shape.epsilon,
                                        Quantizer(shape.input_scale, shape.input_zero)};
      return LaunchBestInt8Gemm<QuantizedRowsSource>(source, weights, epilogue, run);
    }
    case Int8Input::kDynamic:
      throw std::invalid_argument("a linear layer with dynamic input has no CUDA kernel");
  }
}

inline void RunInt8Ffn(const Int8FfnArgs& args, const CudaRun& run) {
  using Kernel = Int8FfnKernel<8>;
  Kernel::Args launch = {};
  launch.up = PackedInt8Matrix(Int8FfnPacking::Up(args.shape), args.packed);
  launch.down = PackedInt8Matrix(Int8FfnPacking::Down(args.shape), args.packed);
  launch.stream = args.stream;
  launch.stride = args.stream_stride;
  launch.rows = args.rows * run.images;
  launch.dim = Narrowed(args.shape.dim);
  launch.whole = args.stream_stride % 4 == 0 && IsAligned(args.stream, 16);
  launch.epsilon = args.shape.epsilon;
  launch.quantizer = Quantizer(args.shape.input_scale, args.shape.input_zero);
  LaunchBlocks<Kernel>(launch, DivideUp(launch.rows, kBlockRows), Kernel::kThreads,
                       Kernel::SharedBytes(launch.up.depth_tiles), run);
}

// ---- convolutions ---------------------------------------------------------------------------------------

template <template <class, class> class Source, class Large, class Pixels>
void LaunchInt8Windows(const WindowArgs<Pixels>& windows, const Int8Conv3x3Shape& shape, const void* packed,
                       const Map& output, const CudaRun& run) {
  const PackedInt8Matrix weights(Int8ConvPacking::Places(shape), packed);
  const Int8Epilogue epilogue = MakeInt8Epilogue(weights, output.data, output.pixel_stride, windows.rows,
                                                 shape.out, Int8Output::kBytes);
  LaunchBestInt8Gemm<Source, Large>(windows, weights, epilogue, run);
}

inline void RunInt8Conv3x3(const Int8Conv3x3Args& args, const CudaRun& run) {
  const Int8Conv3x3Shape& shape = args.shape;
  const bool two = shape.in_second > 0;
  BytePixels pixels = {};
  pixels.first = static_cast<const uint8_t*>(args.input.data);
  pixels.second = static_cast<const uint8_t*>(two ? args.second.data : nullptr);
  pixels.first_channels = Narrowed(shape.in);
  pixels.second_channels = Narrowed(shape.in_second);
  pixels.whole_units = shape.in % 16 == 0 && shape.in_second % 16 == 0 && IsAligned(args.input.data, 16) &&
                       (!two || IsAligned(args.second.data, 16));
  pixels.first_zero = static_cast<uint8_t>(shape.input_zero);
  pixels.second_zero = static_cast<uint8_t>(shape.second_zero);
  LaunchInt8Windows<ByteMapSource, LargeInt8Tile>(
      MakeWindows(pixels, args.input.height, args.input.width, args.output, shape.stride, run.images), shape,
      args.packed, args.output, run);
}

inline void RunInt8Stem(const Int8StemArgs& args, const CudaRun& run) {
  const Image& image = args.input;
  const Int8Conv3x3Shape& shape = args.shape;
  const QuantizedPixels pixels = {image.data,
                                  run.image_stride,
                                  image.channel_stride,
                                  image.row_stride,
                                  image.column_stride,
                                  Narrowed(image.channels),
                                  static_cast<uint8_t>(shape.input_zero),
                                  Quantizer(shape.input_scale, shape.input_zero)};
  // Few columns, and what finds the pixels takes registers.
  LaunchInt8Windows<QuantizedImageSource, TallTile>(
      MakeWindows(pixels, image.height, image.width, args.output, shape.stride, run.images), shape,
      args.packed, args.output, run);
}

template <int kTiles>
void LaunchInt8InvertedResidual(const Int8InvertedResidualArgs& args, const CudaRun& run) {
  using Kernel = Int8InvertedResidualKernel<kTiles>;
  const Int8InvertedResidualShape& shape = args.shape;
  const Int8InvertedResidualPlaces places(shape);
  typename Kernel::Args launch = {};
  launch.expand = PackedInt8Matrix(places.expand, args.packed);
  launch.project = PackedInt8Matrix(places.project, args.packed);
  launch.depthwise = Int8Columns(places.depthwise, args.packed);
  launch.taps = static_cast<const int8_t*>(args.packed) + places.taps;
  launch.padded_channels = Narrowed(places.channels);
  launch.input = static_cast<const uint8_t*>(args.input.data);
  launch.output = static_cast<uint8_t*>(args.output.data);
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
  launch.unit = CopyUnit(args.input.data, {shape.in});
  launch.output_unit = CopyUnit(args.output.data, {shape.out});
  launch.residual = shape.residual;
  launch.residual_multiplier = shape.residual_multiplier;
  launch.expanded_zero = static_cast<uint8_t>(shape.expanded_zero);
  LaunchBlocks<Kernel>(launch, run.images * launch.tiles_down * launch.tiles_across, Kernel::kThreads,
                       Kernel::SharedBytes(shape.in, launch.tile), run);
}

inline void RunInt8InvertedResidual(const Int8InvertedResidualArgs& args, const CudaRun& run) {
  constexpr int64_t kFew = 64;
  if (args.shape.out <= kFew) {
    LaunchInt8InvertedResidual<2>(args, run);
  } else {
    LaunchInt8InvertedResidual<5>(args, run);
  }
}

// ---- the rest -------------------------------------------------------------------------------------------

template <int kHeadDim>
void LaunchInt8Attention(const Int8AttentionArgs& args, const CudaRun& run) {
  using Kernel = Int8AttentionKernel<kHeadDim>;
  typename Kernel::Args launch = {};
  launch.qkv = static_cast<const uint8_t*>(args.qkv.data);
  launch.output = static_cast<uint8_t*>(args.output.data);
  launch.pixels = args.qkv.height * args.qkv.width;
  launch.width = Narrowed(args.qkv.width);
  launch.heads = Narrowed(args.heads);
  launch.head_dim = Narrowed(args.output.channels / args.heads);
  launch.patch_height = Narrowed(args.patch_height);
  launch.patch_width = Narrowed(args.patch_width);
  launch.tokens_across = Narrowed(args.qkv.width / args.patch_width);
  launch.tokens = Narrowed(args.qkv.height / args.patch_height * launch.tokens_across);
  launch.unit = CopyUnit(args.qkv.data, {launch.head_dim});
  launch.output_pairs = launch.head_dim % 2 == 0 && IsAligned(args.output.data, 2);
  launch.distance_scale = args.score_scale * kDistanceSteps;
  launch.output_multiplier = args.output_multiplier;
  launch.output_zero = static_cast<float>(args.output_zero);
  const int64_t warps = std::min<int64_t>(Kernel::kMaxWarps, DivideUp(launch.tokens, Kernel::kQueries));
  launch.query_blocks = Narrowed(DivideUp(launch.tokens, warps * Kernel::kQueries));
  const int64_t units = run.images * args.patch_height * args.patch_width * args.heads;
  LaunchBlocks<Kernel>(launch, units * launch.query_blocks, static_cast<int>(warps) * kWarp,
                       Kernel::SharedBytes(static_cast<int>(warps)), run);
}

inline void RunInt8Attention(const Int8AttentionArgs& args, const CudaRun& run) {
  const int64_t head_dim = args.output.channels / args.heads;
  CheckHeadDim(head_dim);
  if (head_dim <= 32) return LaunchInt8Attention<32>(args, run);
  LaunchInt8Attention<64>(args, run);
}

template <bool kToBytes>
void RunQuantize(const QuantizeArgs& args, const CudaRun& run) {
  using Kernel = QuantizeKernel<kToBytes>;
  const int64_t elements = args.rows * run.images * args.channels;
  const QuantizeKernelArgs launch = {args.values,
                                     args.values_stride,
                                     args.bytes,
                                     args.bytes_stride,
                                     elements,
                                     Narrowed(args.channels),
                                     Quantizer(args.scale, args.zero),
                                     args.scale};
  LaunchBlocks<Kernel>(launch, DivideUp(elements, Kernel::kThreads), Kernel::kThreads, 0, run);
}

inline void RunInt8LayerNorm(const Int8LayerNormArgs& args, const CudaRun& run) {
  using Kernel = Int8LayerNormKernel;
  const LayerNormArgs& norm = args.norm;
  const int64_t rows = norm.rows * run.images;
  const Kernel::Args launch = {norm.input,
                               norm.input_stride,
                               static_cast<uint8_t*>(norm.output),
                               norm.output_stride,
                               norm.gamma,
                               norm.beta,
                               rows,
                               Narrowed(norm.channels),
                               norm.epsilon,
                               Quantizer(args.scale, args.zero)};
  LaunchBlocks<Kernel>(launch, DivideUp(rows, Kernel::kRows), Kernel::kThreads, 0, run);
}

inline void RunInt8GlobalPool(const Int8GlobalPoolArgs& args, const CudaRun& run) {
  using Kernel = Int8GlobalPoolKernel;
  const int channel_blocks = Narrowed(DivideUp(args.input.channels, kWarp));
  const int pixels = Narrowed(args.input.height * args.input.width);
  const auto count = static_cast<float>(pixels);
  const Kernel::Args launch = {static_cast<const uint8_t*>(args.input.data),
                               args.output,
                               pixels,
                               Narrowed(args.input.channels),
                               channel_blocks,
                               count * static_cast<float>(args.zero),
                               args.scale / count};
  LaunchBlocks<Kernel>(launch, run.images * channel_blocks, Kernel::kThreads, Kernel::kSharedBytes, run);
}

}  // namespace mvf::cuda

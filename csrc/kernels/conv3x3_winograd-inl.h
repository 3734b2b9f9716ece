// Dense 3x3 convolution of stride 1 by Winograd's minimal filtering. The map is cut into tiles of kTile x
// kTile outputs; a tile's transformed input at one position is a row of that position's matrix multiply.
#pragma once

namespace mvf {
namespace {

template <int kTile>
constexpr int64_t kPositions = int64_t{Winograd<kTile>::kSide} * Winograd<kTile>::kSide;

// A panel is its bias followed by one panel of a matrix multiply (with a bias of zeros) for each position, in
// the order in which they are read. This is their length in rows of columns behind the bias.
template <class Dot, int kTile>
int64_t WinogradPanelRows(const Conv3x3Shape& shape) {
  return kPositions<kTile> * (1 + Units<Dot>(shape.in + shape.in_second));
}

template <class Dot, int kTile>
size_t WinogradPackedBytes(const Conv3x3Shape& shape) {
  return static_cast<size_t>(PanelSlots(shape.out, WinogradPanelRows<Dot, kTile>(shape))) * sizeof(Vec::Lane);
}

// G g G^T, [kSide][kSide], of one filter, whose taps lie `step` apart.
template <int kTile>
void TransformWeight(const float* g, int64_t step, double* out) {
  constexpr int kSide = Winograd<kTile>::kSide;
  double half[kSide * 3];
  for (int x = 0; x < 3; ++x) {
    Winograd<kTile>::Weight(g[x * step], g[(3 + x) * step], g[(6 + x) * step], half + x, 3);
  }
  for (int y = 0; y < kSide; ++y) {
    Winograd<kTile>::Weight(half[3 * y], half[3 * y + 1], half[3 * y + 2], out + y * kSide, 1);
  }
}

template <class Dot, int kTile>
void WinogradPack(const Conv3x3Shape& shape, const Conv3x3Weights& weights, void* packed) {
  using Unit = typename Dot::Unit;
  const int64_t channels = shape.in + shape.in_second, units = Units<Dot>(channels);
  ForEachPanel(
      shape.out, WinogradPanelRows<Dot, kTile>(shape), [&](int vectors, int64_t first, int64_t slot) {
        const int64_t width = vectors * Vec::kLanes;
        Vec::Lane* const bias = static_cast<Vec::Lane*>(packed) + slot;
        for (int64_t i = 0; i < width; ++i) {
          bias[i] = ToLane(weights.bias && first + i < shape.out ? weights.bias[first + i] : 0.0f);
        }
        Unit* const rows = static_cast<Unit*>(packed) + slot + width;
        for (int64_t p = 0; p < kPositions<kTile>; ++p) {
          for (int64_t i = 0; i < width; ++i) rows[p * (1 + units) * width + i] = Unit{};
        }
        for (int64_t unit = 0; unit < units; ++unit) {
          const int64_t channel = unit * Dot::kUnit, present = Min(channels - channel, Dot::kUnit);
          for (int64_t i = 0; i < width; ++i) {
            float transformed[kPositions<kTile>][Dot::kUnit] = {};
            for (int64_t k = 0; k < present && first + i < shape.out; ++k) {
              double filter[kPositions<kTile>];
              TransformWeight<kTile>(weights.weight + 9 * (first + i) * channels + channel + k, channels,
                                     filter);
              for (int64_t p = 0; p < kPositions<kTile>; ++p)
                transformed[p][k] = static_cast<float>(filter[p]);
            }
            for (int64_t p = 0; p < kPositions<kTile>; ++p) {
              rows[(p * (1 + units) + 1 + unit) * width + i] = Dot::PackUnit(transformed[p], Dot::kUnit);
            }
          }
        }
      });
}

// Tiles are computed in blocks. For one block, `inputs` is [position][tile][channels], transformed, and
// `products` is [position][tile][columns of one panel]. Positions lie a cache line further apart than they
// need to, or their equal offsets would fight for the same cache sets.
template <class Dot, int kTile>
struct WinogradBlock {
  int64_t tile_columns;      // of the map
  int64_t tiles;             // of a block, at most
  int64_t units;             // of a transformed pixel
  int64_t input_position;    // units from one position of `inputs` to the next
  int64_t product_position;  // lanes from one position of `products` to the next
  int64_t zero_bytes;        // a pixel of zeros, which stands for the padding
  int64_t input_bytes;
  int64_t product_bytes;

  WinogradBlock(const Conv3x3Shape& shape, const Map& output) {
    // The panels pass once for each block: from sixteen tiles on, the arithmetic hides their way from the
    // third-level cache. The less memory a block takes, the more of it stays in the second level.
    constexpr int64_t kInputBytes = 256 * 1024, kGrain = 16;
    constexpr int64_t kSlot = sizeof(typename Dot::Unit), kLineSlots = kLineBytes / kSlot;
    tile_columns = CeilDiv(output.width, kTile);
    units = Units<Dot>(shape.in + shape.in_second);
    const int64_t fitting = kInputBytes / (kPositions<kTile> * units * kSlot);
    tiles = Min(Max(fitting / kGrain * kGrain, kGrain), CeilDiv(output.height, kTile) * tile_columns);
    input_position = RoundUp(tiles * units, kLineSlots) + kLineSlots;
    product_position = tiles * kMaxPanelVectors * Vec::kLanes + kLineSlots;
    const int64_t element_bytes = sizeof(typename Dot::Element);
    zero_bytes = RoundUp(Max(shape.in, shape.in_second) * element_bytes, kLineBytes);
    input_bytes = kPositions<kTile> * input_position * kSlot;
    product_bytes = kPositions<kTile> * product_position * kSlot;
  }
};

template <class Dot, int kTile>
size_t WinogradScratchBytes(const Conv3x3Args& args) {
  const WinogradBlock<Dot, kTile> block(args.shape, args.output);
  return static_cast<size_t>(block.zero_bytes + block.input_bytes + block.product_bytes);
}

// B^T d B of `lanes` channels.
template <int kTile, bool kPartial, class Element>
MVF_INLINE void TransformInput(const Element* const* pixels, int64_t channel, int lanes, Element* to,
                               int64_t position) {
  constexpr int kSide = Winograd<kTile>::kSide;
  Vec half[kSide * kSide], row[kSide];
#pragma GCC unroll 6
  for (int x = 0; x < kSide; ++x) {
    Vec column[kSide];
#pragma GCC unroll 6
    for (int y = 0; y < kSide; ++y) {
      const Element* pixel = pixels[y * kSide + x] + channel;
      column[y] = kPartial ? Vec::LoadPartial(pixel, lanes) : Vec::Load(pixel);
    }
    Winograd<kTile>::template Input<1, kSide>(column, half + x);
  }
#pragma GCC unroll 6
  for (int y = 0; y < kSide; ++y) {
    Winograd<kTile>::template Input<1, 1>(half + y * kSide, row);
#pragma GCC unroll 6
    for (int x = 0; x < kSide; ++x) {
      Element* at = to + (y * kSide + x) * position;
      if constexpr (kPartial) {
        row[x].StorePartial(at, lanes);
      } else {
        row[x].Store(at);
      }
    }
  }
}

// All channels of one input for the tile at (tile_y, tile_x).
template <int kTile, class Element>
void TransformTile(const Map& map, int64_t channels, int64_t tile_y, int64_t tile_x, const Element* zeros,
                   Element* to, int64_t position) {
  constexpr int kSide = Winograd<kTile>::kSide;
  const Element* pixels[kSide * kSide];
  for (int i = 0; i < kSide; ++i) {
    const int64_t y = tile_y * kTile - 1 + i;
    for (int j = 0; j < kSide; ++j) {
      const int64_t x = tile_x * kTile - 1 + j;
      const bool inside = y >= 0 && y < map.height && x >= 0 && x < map.width;
      pixels[i * kSide + j] = inside ? map.Pixel<const Element>(y, x) : zeros;
    }
  }
  int64_t channel = 0;
  for (; channel + Vec::kLanes <= channels; channel += Vec::kLanes) {
    TransformInput<kTile, false>(pixels, channel, Vec::kLanes, to + channel, position);
  }
  if (channel < channels) {
    TransformInput<kTile, true>(pixels, channel, static_cast<int>(channels - channel), to + channel,
                                position);
  }
}

// The part of a tile that lies within the map and the range: rows [begin, end), columns [0, columns).
template <class Element>
struct OutputTile {
  Element* data;  // where the whole tile starts, perhaps outside of the map
  int64_t row_stride;
  int64_t pixel_stride;
  int64_t begin;
  int64_t end;
  int64_t columns;
};

// activation(A^T m A + bias) of one vector of columns.
template <int kTile, Activation kActivation, class Element>
MVF_INLINE void TransformOutput(const Vec::Lane* products, int64_t position, Vec bias,
                                const OutputTile<Element>& to, int64_t column, int lanes) {
  constexpr int kSide = Winograd<kTile>::kSide;
  Vec half[kTile * kSide];
#pragma GCC unroll 6
  for (int x = 0; x < kSide; ++x) {
    Vec m[kSide];
#pragma GCC unroll 6
    for (int y = 0; y < kSide; ++y) m[y] = Vec::Load(products + (y * kSide + x) * position);
    Winograd<kTile>::template Output<1, kSide>(m, half + x);
  }
#pragma GCC unroll 4
  for (int y = 0; y < kTile; ++y) {
    if (y < to.begin || y >= to.end) continue;
    Vec row[kTile];
    Winograd<kTile>::template Output<1, 1>(half + y * kSide, row);
    Element* at = to.data + y * to.row_stride + column;
#pragma GCC unroll 4
    for (int x = 0; x < kTile; ++x, at += to.pixel_stride) {
      if (x >= to.columns) break;
      const Vec value = Activate<kActivation>(Add(row[x], bias));
      if (lanes == Vec::kLanes) {
        value.Store(at);
      } else {
        value.StorePartial(at, lanes);
      }
    }
  }
}

template <class Dot, int kTile, Activation kActivation>
void WinogradRows(const Conv3x3Args& args, Range range, void* scratch) {
  using Element = typename Dot::Element;
  using Unit = typename Dot::Unit;
  const Conv3x3Shape& shape = args.shape;
  const Map& output = args.output;
  const WinogradBlock<Dot, kTile> block(shape, output);
  const int64_t units = block.units, pitch = units * Dot::kUnit, position = block.input_position * Dot::kUnit;
  const int64_t channels = shape.in + shape.in_second;
  char* const bytes = static_cast<char*>(scratch);
  Element* const zeros = reinterpret_cast<Element*>(bytes);
  Element* const inputs = reinterpret_cast<Element*>(bytes + block.zero_bytes);
  Vec::Lane* const products = reinterpret_cast<Vec::Lane*>(bytes + block.zero_bytes + block.input_bytes);
  ZeroElements(zeros, Max(shape.in, shape.in_second));
  if (channels < pitch) {
    for (int64_t p = 0; p < kPositions<kTile>; ++p) {
      for (int64_t i = 0; i < block.tiles; ++i) {
        ZeroElements(inputs + p * position + i * pitch + channels, pitch - channels);
      }
    }
  }

  const int64_t last_tile = CeilDiv(range.end, kTile) * block.tile_columns;
  for (int64_t first = range.begin / kTile * block.tile_columns; first < last_tile; first += block.tiles) {
    const int64_t count = Min(block.tiles, last_tile - first);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t tile_y = (first + i) / block.tile_columns, tile_x = (first + i) % block.tile_columns;
      Element* const to = inputs + i * pitch;
      TransformTile<kTile>(args.input, shape.in, tile_y, tile_x, zeros, to, position);
      if (shape.in_second > 0) {
        TransformTile<kTile>(args.second, shape.in_second, tile_y, tile_x, zeros, to + shape.in, position);
      }
    }
    ForEachPanel(
        shape.out, WinogradPanelRows<Dot, kTile>(shape), [&](int vectors, int64_t column, int64_t slot) {
          const int64_t width = vectors * Vec::kLanes;
          const Vec::Lane* const bias = static_cast<const Vec::Lane*>(args.packed) + slot;
          for (int64_t p = 0; p < kPositions<kTile>; ++p) {
            const Operand<Unit> operand{reinterpret_cast<const Unit*>(inputs + p * position), units, 0, 1,
                                        units};
            const Destination<Vec::Lane> to{products + p * block.product_position, width, nullptr, 0};
            const Vec::Lane* panel = bias + width + p * (1 + units) * width;
            PanelRows<Dot, Activation::kNone, false>(vectors, operand, 0, count, panel, to, 0, width);
          }
          for (int64_t i = 0; i < count; ++i) {
            const int64_t y = (first + i) / block.tile_columns * kTile,
                          x = (first + i) % block.tile_columns * kTile;
            const OutputTile<Element> to{output.Pixel<Element>(y, x),
                                         output.row_stride,
                                         output.pixel_stride,
                                         range.begin - y,
                                         range.end - y,
                                         output.width - x};
            for (int64_t j = 0; j < width && column + j < shape.out; j += Vec::kLanes) {
              const int lanes = static_cast<int>(Min(shape.out - column - j, Vec::kLanes));
              TransformOutput<kTile, kActivation>(products + i * width + j, block.product_position,
                                                  Vec::Load(bias + j), to, column + j, lanes);
            }
          }
        });
  }
}

template <class Dot, int kTile>
void WinogradRun(const Conv3x3Args& args, Range range, void* scratch) {
  if (args.shape.activation == Activation::kSilu) {
    return WinogradRows<Dot, kTile, Activation::kSilu>(args, range, scratch);
  }
  return WinogradRows<Dot, kTile, Activation::kNone>(args, range, scratch);
}

}  // namespace
}  // namespace mvf

#include "plain_table.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "plain_attention.h"

namespace mvf_test {
namespace {

using namespace mvf;

// "Packed" weights are a copy: weight, then bias.
struct Plain {
  const float* weight;
  const float* bias;
};

size_t CopyWeights(void* packed, const float* weight, const float* bias, int64_t elements, int64_t outputs) {
  auto* place = static_cast<float*>(packed);
  std::copy_n(weight, elements, place);
  for (int64_t i = 0; i < outputs; ++i) place[elements + i] = bias ? bias[i] : 0;
  return static_cast<size_t>(elements + outputs) * sizeof(float);
}

double Activate(double x, Activation activation) {
  return activation == Activation::kSilu ? x / (1 + std::exp(-x)) : x;
}

template <class Args>
size_t NoScratch(const Args&) {
  return 0;
}

// Rows brought to mean 0 and variance 1.
std::vector<double> Normalized(const float* row, int64_t channels, double epsilon) {
  double mean = 0, variance = 0;
  for (int64_t c = 0; c < channels; ++c) mean += row[c] / static_cast<double>(channels);
  for (int64_t c = 0; c < channels; ++c)
    variance += (row[c] - mean) * (row[c] - mean) / static_cast<double>(channels);
  std::vector<double> result(row, row + channels);
  for (double& value : result) value = (value - mean) / std::sqrt(variance + epsilon);
  return result;
}

std::vector<double> Product(const std::vector<double>& row, Plain weights, int64_t out,
                            Activation activation) {
  std::vector<double> result(static_cast<size_t>(out));
  const auto in = static_cast<int64_t>(row.size());
  for (int64_t n = 0; n < out; ++n) {
    double sum = weights.bias[n];
    for (int64_t k = 0; k < in; ++k) sum += row[static_cast<size_t>(k)] * weights.weight[n * in + k];
    result[static_cast<size_t>(n)] = Activate(sum, activation);
  }
  return result;
}

Plain At(const void* packed, int64_t elements) {
  const auto* data = static_cast<const float*>(packed);
  return {data, data + elements};
}

size_t LinearBytes(const LinearShape& shape) {
  return static_cast<size_t>(shape.in * shape.out + shape.out) * sizeof(float);
}

void LinearPack(const LinearShape& shape, const LinearWeights& weights, void* packed) {
  CopyWeights(packed, weights.weight, weights.bias, shape.in * shape.out, shape.out);
}

void LinearRun(const LinearArgs& args, Range rows, void*) {
  const LinearShape& shape = args.shape;
  for (int64_t m = rows.begin; m < rows.end; ++m) {
    const float* input = static_cast<const float*>(args.input) + m * args.input_stride;
    std::vector<double> row(input, input + shape.in);
    if (shape.normalize) row = Normalized(input, shape.in, shape.epsilon);
    const std::vector<double> result =
        Product(row, At(args.packed, shape.in * shape.out), shape.out, shape.activation);
    float* output = static_cast<float*>(args.output) + m * args.output_stride;
    const float* residual = static_cast<const float*>(args.residual);
    for (int64_t n = 0; n < shape.out; ++n) {
      output[n] = static_cast<float>(result[static_cast<size_t>(n)] +
                                     (residual ? residual[m * args.residual_stride + n] : 0));
    }
  }
}

size_t FfnBytes(const FfnShape& shape) {
  return LinearBytes({shape.dim, shape.hidden}) + LinearBytes({shape.hidden, shape.dim});
}

void FfnPack(const FfnShape& shape, const FfnWeights& weights, void* packed) {
  const size_t up =
      CopyWeights(packed, weights.up.weight, weights.up.bias, shape.dim * shape.hidden, shape.hidden);
  CopyWeights(static_cast<char*>(packed) + up, weights.down.weight, weights.down.bias,
              shape.dim * shape.hidden, shape.dim);
}

void FfnRun(const FfnArgs& args, Range rows, void*) {
  const FfnShape& shape = args.shape;
  const int64_t elements = shape.dim * shape.hidden;
  const char* down = static_cast<const char*>(args.packed) + LinearBytes({shape.dim, shape.hidden});
  for (int64_t m = rows.begin; m < rows.end; ++m) {
    float* stream = args.stream + m * args.stream_stride;
    const std::vector<double> wide = Product(Normalized(stream, shape.dim, shape.epsilon),
                                             At(args.packed, elements), shape.hidden, Activation::kSilu);
    const std::vector<double> result = Product(wide, At(down, elements), shape.dim, Activation::kNone);
    for (int64_t c = 0; c < shape.dim; ++c) stream[c] += static_cast<float>(result[static_cast<size_t>(c)]);
  }
}

// The sum over a 3x3 window of at(y, x, i, j), where (y, x) lies in the map.
template <class At>
double Window(int64_t y, int64_t x, int64_t stride, int64_t height, int64_t width, At&& at) {
  double sum = 0;
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 3; ++j) {
      const int64_t from_y = y * stride + i - 1, from_x = x * stride + j - 1;
      if (from_y >= 0 && from_y < height && from_x >= 0 && from_x < width)
        sum += at(from_y, from_x, i * 3 + j);
    }
  }
  return sum;
}

int64_t ConvElements(const Conv3x3Shape& shape) { return shape.out * 9 * (shape.in + shape.in_second); }

size_t ConvBytes(const Conv3x3Shape& shape) {
  return static_cast<size_t>(ConvElements(shape) + shape.out) * sizeof(float);
}

void ConvPack(const Conv3x3Shape& shape, const Conv3x3Weights& weights, void* packed) {
  CopyWeights(packed, weights.weight, weights.bias, ConvElements(shape), shape.out);
}

// Output rows of a convolution that reads its input through at(y, x, channel).
template <class At>
void ConvRows(const Conv3x3Shape& shape, const void* packed, const Map& output, Range rows, int64_t height,
              int64_t width, At&& at) {
  const Plain weights = mvf_test::At(packed, ConvElements(shape));
  const int64_t channels = shape.in + shape.in_second;
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    for (int64_t x = 0; x < output.width; ++x) {
      for (int64_t n = 0; n < shape.out; ++n) {
        const double sum =
            Window(y, x, shape.stride, height, width, [&](int64_t from_y, int64_t from_x, int64_t tap) {
              double products = 0;
              for (int64_t c = 0; c < channels; ++c) {
                products +=
                    static_cast<double>(at(from_y, from_x, c)) * weights.weight[(n * 9 + tap) * channels + c];
              }
              return products;
            });
        output.Pixel<float>(y, x)[n] = static_cast<float>(Activate(sum + weights.bias[n], shape.activation));
      }
    }
  }
}

void ConvRun(const Conv3x3Args& args, Range rows, void*) {
  ConvRows(args.shape, args.packed, args.output, rows, args.input.height, args.input.width,
           [&](int64_t y, int64_t x, int64_t c) {
             return c < args.shape.in ? args.input.Pixel<const float>(y, x)[c]
                                      : args.second.Pixel<const float>(y, x)[c - args.shape.in];
           });
}

void StemRun(const StemArgs& args, Range rows, void*) {
  const Image& image = args.input;
  ConvRows(args.shape, args.packed, args.output, rows, image.height, image.width,
           [&](int64_t y, int64_t x, int64_t c) {
             return image.data[c * image.channel_stride + y * image.row_stride + x * image.column_stride];
           });
}

size_t DepthwiseBytes(const DwConv3x3Shape& shape) {
  return static_cast<size_t>(10 * shape.channels) * sizeof(float);
}

void DepthwisePack(const DwConv3x3Shape& shape, const DwConv3x3Weights& weights, void* packed) {
  CopyWeights(packed, weights.weight, weights.bias, 9 * shape.channels, shape.channels);
}

void DepthwiseRun(const DwConv3x3Args& args, Range rows, void*) {
  const int64_t channels = args.shape.channels;
  const Plain weights = At(args.packed, 9 * channels);
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    for (int64_t x = 0; x < args.output.width; ++x) {
      for (int64_t c = 0; c < channels; ++c) {
        const double sum =
            Window(y, x, args.shape.stride, args.input.height, args.input.width,
                   [&](int64_t from_y, int64_t from_x, int64_t tap) {
                     return static_cast<double>(args.input.Pixel<const float>(from_y, from_x)[c]) *
                            weights.weight[tap * channels + c];
                   });
        args.output.Pixel<float>(y, x)[c] =
            static_cast<float>(Activate(sum + weights.bias[c], args.shape.activation));
      }
    }
  }
}

LinearShape ExpandShape(const InvertedResidualShape& shape) {
  return {shape.in, shape.expanded, Activation::kSilu};
}
DwConv3x3Shape MiddleShape(const InvertedResidualShape& shape) {
  return {shape.expanded, shape.stride, Activation::kSilu};
}
LinearShape ProjectShape(const InvertedResidualShape& shape) { return {shape.expanded, shape.out}; }

size_t ResidualBytes(const InvertedResidualShape& shape) {
  return LinearBytes(ExpandShape(shape)) + DepthwiseBytes(MiddleShape(shape)) +
         LinearBytes(ProjectShape(shape));
}

void ResidualPack(const InvertedResidualShape& shape, const InvertedResidualWeights& weights, void* packed) {
  char* place = static_cast<char*>(packed);
  LinearPack(ExpandShape(shape), weights.expand, place);
  place += LinearBytes(ExpandShape(shape));
  DepthwisePack(MiddleShape(shape), weights.depthwise, place);
  place += DepthwiseBytes(MiddleShape(shape));
  LinearPack(ProjectShape(shape), weights.project, place);
}

void ResidualRun(const InvertedResidualArgs& args, Range rows, void*) {
  const InvertedResidualShape& shape = args.shape;
  const char* place = static_cast<const char*>(args.packed);
  const auto whole = [](const Map& map, const LinearShape& linear, const void* packed, const Map& input,
                        int64_t y) {
    LinearArgs line;
    line.shape = linear;
    line.packed = packed;
    line.rows = map.width;
    line.input = input.Row<float>(y);
    line.input_stride = input.pixel_stride;
    line.output = map.Row<float>(y);
    line.output_stride = map.pixel_stride;
    return line;
  };
  std::vector<float> wide(static_cast<size_t>(args.input.height * args.input.width * shape.expanded));
  const Map expanded = DenseMap(wide.data(), args.input.height, args.input.width, shape.expanded);
  for (int64_t y = 0; y < expanded.height; ++y) {
    LinearRun(whole(expanded, ExpandShape(shape), place, args.input, y), {0, expanded.width}, nullptr);
  }
  place += LinearBytes(ExpandShape(shape));
  std::vector<float> filtered(static_cast<size_t>(args.output.height * args.output.width * shape.expanded));
  const Map middle = DenseMap(filtered.data(), args.output.height, args.output.width, shape.expanded);
  DepthwiseRun({MiddleShape(shape), place, expanded, middle}, rows, nullptr);
  place += DepthwiseBytes(MiddleShape(shape));
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    LinearArgs line = whole(args.output, ProjectShape(shape), place, middle, y);
    if (shape.residual) line.residual = args.input.Row<float>(y);
    line.residual_stride = args.input.pixel_stride;
    LinearRun(line, {0, args.output.width}, nullptr);
  }
}

void LayerNormRun(const LayerNormArgs& args, Range rows, void*) {
  for (int64_t m = rows.begin; m < rows.end; ++m) {
    const std::vector<double> row =
        Normalized(args.input + m * args.input_stride, args.channels, args.epsilon);
    float* output = static_cast<float*>(args.output) + m * args.output_stride;
    for (int64_t c = 0; c < args.channels; ++c) {
      output[c] = static_cast<float>(row[static_cast<size_t>(c)] * args.gamma[c] + args.beta[c]);
    }
  }
}

// The two neighbours of an output coordinate and the weight of the second.
struct Blend {
  int64_t low, high;
  double weight;
};

Blend BlendAt(int64_t place, int64_t in, int64_t out) {
  const double at = std::max(
      0.0, (static_cast<double>(place) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5);
  const auto low = std::min(static_cast<int64_t>(at), in - 1);
  return {low, std::min(low + 1, in - 1), at - static_cast<double>(low)};
}

void ResizeRun(const ResizeArgs& args, Range rows, void*) {
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    const Blend v = BlendAt(y, args.input.height, args.output.height);
    for (int64_t x = 0; x < args.output.width; ++x) {
      const Blend h = BlendAt(x, args.input.width, args.output.width);
      for (int64_t c = 0; c < args.output.channels; ++c) {
        const auto at = [&](int64_t i, int64_t j) {
          return static_cast<double>(args.input.Pixel<const float>(i, j)[c]);
        };
        const double top = at(v.low, h.low) * (1 - h.weight) + at(v.low, h.high) * h.weight;
        const double bottom = at(v.high, h.low) * (1 - h.weight) + at(v.high, h.high) * h.weight;
        args.output.Pixel<float>(y, x)[c] = static_cast<float>(top * (1 - v.weight) + bottom * v.weight);
      }
    }
  }
}

void GlobalPoolRun(const GlobalPoolArgs& args, Range channels, void*) {
  for (int64_t c = channels.begin; c < channels.end; ++c) {
    double sum = 0;
    for (int64_t y = 0; y < args.input.height; ++y) {
      for (int64_t x = 0; x < args.input.width; ++x) sum += args.input.Pixel<const float>(y, x)[c];
    }
    static_cast<float*>(args.output)[c] =
        static_cast<float>(sum / static_cast<double>(args.input.height * args.input.width));
  }
}

void SoftmaxRun(const SoftmaxArgs& args, Range rows, void*) {
  for (int64_t m = rows.begin; m < rows.end; ++m) {
    const float* input = args.input + m * args.input_stride;
    std::vector<double> row(input, input + args.columns);
    PlainSoftmax(row);
    std::copy(row.begin(), row.end(), args.output + m * args.output_stride);
  }
}

}  // namespace

const KernelTable& PlainTable() {
  static const KernelTable table = {"plain",
                                    DType::kF32,
                                    {LinearBytes, LinearPack},
                                    {NoScratch<LinearArgs>, LinearRun},
                                    {FfnBytes, FfnPack},
                                    {NoScratch<FfnArgs>, FfnRun},
                                    {ConvBytes, ConvPack},
                                    {NoScratch<Conv3x3Args>, ConvRun},
                                    {ConvBytes, ConvPack},
                                    {NoScratch<StemArgs>, StemRun},
                                    {DepthwiseBytes, DepthwisePack},
                                    {NoScratch<DwConv3x3Args>, DepthwiseRun},
                                    {ResidualBytes, ResidualPack},
                                    {NoScratch<InvertedResidualArgs>, ResidualRun},
                                    {NoScratch<AttentionArgs>, PlainAttention},
                                    {NoScratch<LayerNormArgs>, LayerNormRun},
                                    {NoScratch<ResizeArgs>, ResizeRun},
                                    {NoScratch<GlobalPoolArgs>, GlobalPoolRun},
                                    {NoScratch<SoftmaxArgs>, SoftmaxRun}};
  return table;
}

}  // namespace mvf_test

// _C.ops for the layers between batch norms, whose normalised maps never exist: see training_kernels.h.
#include <algorithm>
#include <vector>

#include "engine/training_work.h"
#include "python/bindings.h"
#include "python/channel_norm.h"
#include "python/dense_arrays.h"
#include "python/ops_arguments.h"
#include "python/ops_runner.h"
#include "python/scalars.h"

namespace mvf {
namespace {

double ReadNormSettings(const Object& epsilon, const Object& silu, Activation& activation) {
  activation = ReadSilu(silu);
  return ReadEpsilon(epsilon);
}

BatchNormOf RequireNorm(const Object& norm, int64_t channels, double epsilon, Activation activation) {
  if (norm.is_none()) throw py::type_error("norm must be an array of weight, bias, mean and variance");
  return BatchNormOf(norm, "norm", channels, epsilon, activation);
}

// The gradients [2, channels] of a norm's weight and bias, from sums of what lies behind the norm.
py::array_t<float> NormWeightGradients(const BatchNormOf& norm, const ChannelSums& sums) {
  const size_t channels = sums.first.size();
  py::array_t<float> gradients({size_t{2}, channels});
  float* const to = gradients.mutable_data();
  for (size_t c = 0; c < channels; ++c) {
    to[c] = static_cast<float>(sums.second[c] * norm.inverse_deviation(c));
    to[channels + c] = static_cast<float>(sums.first[c]);
  }
  return gradients;
}

// The same for a norm without activation, from the gradient for its output.
py::array_t<float> SumNormGradients(const OpSettings& settings, const Dense& upstream, const Dense& y,
                                    const BatchNormOf& norm) {
  NormalizeBackwardArgs args;
  args.forward.rows = y.size(0);
  args.forward.channels = args.forward.input_stride = args.upstream_stride = y.size(1);
  std::vector<double> sums = ChunkSums(args.forward.rows, args.forward.channels);
  args.forward.input = y.data();
  args.forward.scale = norm.channel_norm().scale;
  args.forward.offset = norm.channel_norm().offset;
  args.upstream = upstream.data();
  args.mean = norm.mean();
  args.sums = sums.data();
  Unlocked([&] {
    RunItems(settings.table.training->normalize_backward_sums, 1, settings.threads,
             [&](int64_t) { return args; });
  });
  return NormWeightGradients(norm, ChannelSums(sums, args.forward.channels));
}

py::tuple NormLinear(const Object& x_object, const Object& weight_object, const Object& norm_object,
                     const Object& epsilon, const Object& silu, const Object& out, const Object& isa,
                     const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  Activation activation;
  const double exact_epsilon = ReadNormSettings(epsilon, silu, activation);
  const Dense x(x_object, "x", {kAnySize, kAnySize});
  NormLinearArgs args;
  args.rows = x.size(0);
  args.in = x.size(1);
  const Weight weight = Weight::Required(weight_object, "weight", {kAnySize, args.in});
  args.out = weight.size(0);
  const BatchNormOf norm(norm_object, "norm", args.in, exact_epsilon, activation);
  Output output = MakeDenseOutput(out, {args.rows, args.out}, {x.named()});
  py::array_t<float> mean(args.out), variance(args.out);
  float* const means = mean.mutable_data();
  float* const variances = variance.mutable_data();
  std::vector<double> sums = ChunkSums(args.rows, args.out);
  args.input = x.data();
  args.norm = norm.channel_norm();
  args.output = output.view.data;
  args.sums = sums.data();
  Unlocked([&] {
    LinearShape shape;
    shape.in = args.in;
    shape.out = args.out;
    const AlignedBuffer packed = Pack(settings.table.linear_packing, shape, {weight.data(), nullptr});
    args.packed = packed.data();
    RunItems(settings.table.training->norm_linear, 1, settings.threads, [&](int64_t) { return args; });
    std::vector<Part> parts;
    for (int64_t first = 0; first < args.rows; first += kChannelSumRows) {
      parts.push_back({std::min(kChannelSumRows, args.rows - first), args.output + first * args.out});
    }
    CombineMoments(parts, sums, args.out, means, variances);
  });
  return py::make_tuple(output.array, mean, variance);
}

py::tuple NormLinearBackward(const Object& upstream_object, const Object& y_object, const Object& x_object,
                             const Object& weight_object, const Object& y_norm, const Object& y_gradients,
                             const Object& norm_object, const Object& residual_object, const Object& epsilon,
                             const Object& silu, const Object& out, const Object& isa,
                             const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  Activation activation;
  const double exact_epsilon = ReadNormSettings(epsilon, silu, activation);
  const Dense x(x_object, "x", {kAnySize, kAnySize});
  NormLinearBackwardArgs args;
  args.rows = x.size(0);
  args.in = x.size(1);
  const Weight weight = Weight::Required(weight_object, "weight", {kAnySize, args.in});
  args.out = weight.size(0);
  const Dense upstream(upstream_object, "upstream", {args.rows, args.out});
  const Dense y(y_object, "y", {args.rows, args.out});
  const BatchNormOf behind(y_norm, "y_norm", args.out, exact_epsilon, Activation::kNone);
  Object of_behind = y_gradients;
  if (behind && y_gradients.is_none()) of_behind = SumNormGradients(settings, upstream, y, behind);
  const Weight of_behind_read = Weight::Optional(of_behind, "y_gradients", {2, args.out});
  const NormGradientOf gradient(behind, of_behind_read.data(), args.rows, args.out);
  const BatchNormOf norm(norm_object, "norm", args.in, exact_epsilon, activation);
  std::vector<Named> read{x.named(), upstream.named(), y.named()};
  std::vector<Dense> residual;
  if (!residual_object.is_none()) {
    residual.emplace_back(residual_object, "residual", Shape{args.rows, args.in});
    read.push_back(residual.front().named());
  }
  Output output = MakeDenseOutput(out, {args.rows, args.in}, read);
  const std::vector<py::ssize_t> weight_shape{args.out, args.in};
  py::array_t<float> weight_gradient(weight_shape);
  float* const weight_gradients = weight_gradient.mutable_data();
  std::vector<double> sums = ChunkSums(args.rows, args.in);
  args.gradient = gradient.At(upstream.data(), y.data());
  args.input = x.data();
  args.norm = norm.channel_norm();
  if (!residual.empty()) args.residual = residual.front().data();
  args.output = output.view.data;
  args.sums = norm ? sums.data() : nullptr;
  args.shares = std::min(kWeightGradientShares, ChannelSumChunks(args.rows));
  Unlocked([&] {
    const int64_t size = args.out * args.in;
    std::vector<float> transposed(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i) {
      transposed[static_cast<size_t>(i % args.in * args.out + i / args.in)] = weight.data()[i];
    }
    LinearShape shape;
    shape.in = args.out;
    shape.out = args.in;
    const AlignedBuffer packed = Pack(settings.table.linear_packing, shape, {transposed.data(), nullptr});
    const AlignedBuffer shares(static_cast<size_t>(args.shares * size) * sizeof(float), "weight gradients");
    args.packed = packed.data();
    args.weight_gradients = reinterpret_cast<float*>(shares.data());
    RunItems(settings.table.training->norm_linear_backward, 1, settings.threads,
             [&](int64_t) { return args; });
    std::copy_n(args.weight_gradients, size, weight_gradients);
    for (int64_t share = 1; share < args.shares; ++share) {
      const float* const part = args.weight_gradients + share * size;
      for (int64_t i = 0; i < size; ++i) weight_gradients[i] += part[i];
    }
  });
  Object of_norm = py::none();
  if (norm) of_norm = NormWeightGradients(norm, ChannelSums(sums, args.in));
  return py::make_tuple(output.array, weight_gradient, of_norm, of_behind);
}

// Sums over the segments of every image.
std::vector<double> SegmentSums(int64_t images, int64_t channels) {
  return std::vector<double>(static_cast<size_t>(2 * images * kDepthwiseSegments * channels));
}

py::tuple NormDepthwise(const Object& x_object, const Object& weight_object, const Object& norm_object,
                        const Object& stride, const Object& epsilon, const Object& silu, const Object& out,
                        const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  Activation activation;
  const double exact_epsilon = ReadNormSettings(epsilon, silu, activation);
  const Dense x(x_object, "x", {kAnySize, kAnySize, kAnySize, kAnySize});
  const int64_t images = x.size(0), height = x.size(1), width = x.size(2), channels = x.size(3);
  NormDepthwiseArgs whole;
  whole.height = height;
  whole.width = width;
  whole.channels = channels;
  whole.stride = ReadStride(stride);
  const Weight weight = Weight::Required(weight_object, "weight", {3, 3, channels});
  const BatchNormOf norm = RequireNorm(norm_object, channels, exact_epsilon, activation);
  const Shape shape = ConvolvedShape(images, height, width, whole.stride, channels);
  Output output = MakeDenseOutput(out, shape, {x.named()});
  py::array_t<float> mean(channels), variance(channels);
  float* const means = mean.mutable_data();
  float* const variances = variance.mutable_data();
  std::vector<double> sums = SegmentSums(images, channels);
  const int64_t image_size = shape[1] * shape[2] * channels;
  whole.norm = norm.channel_norm();
  Unlocked([&] {
    const AlignedBuffer packed = Pack(settings.table.dwconv3x3_packing,
                                      {channels, whole.stride, Activation::kNone}, {weight.data(), nullptr});
    whole.packed = packed.data();
    RunItems(settings.table.training->norm_depthwise, images, settings.threads, [&](int64_t n) {
      NormDepthwiseArgs args = whole;
      args.input = x.data() + n * height * width * channels;
      args.output = output.view.data + n * image_size;
      args.sums = sums.data() + n * kDepthwiseSegments * 2 * channels;
      return args;
    });
    std::vector<Part> parts;
    for (int64_t n = 0; n < images; ++n) {
      for (int64_t segment = 0; segment < kDepthwiseSegments; ++segment) {
        const Range rows = ShareOf({shape[1], 1}, segment, kDepthwiseSegments);
        parts.push_back({(rows.end - rows.begin) * shape[2],
                         output.view.data + n * image_size + rows.begin * shape[2] * channels});
      }
    }
    CombineMoments(parts, sums, channels, means, variances);
  });
  return py::make_tuple(output.array, mean, variance);
}

py::tuple NormDepthwiseBackward(const Object& upstream_object, const Object& y_object, const Object& x_object,
                                const Object& weight_object, const Object& y_norm, const Object& y_gradients,
                                const Object& norm_object, const Object& stride, const Object& epsilon,
                                const Object& silu, const Object& out, const Object& isa,
                                const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  Activation activation;
  const double exact_epsilon = ReadNormSettings(epsilon, silu, activation);
  const Dense x(x_object, "x", {kAnySize, kAnySize, kAnySize, kAnySize});
  const int64_t images = x.size(0), height = x.size(1), width = x.size(2), channels = x.size(3);
  NormDepthwiseBackwardArgs whole;
  whole.forward.height = height;
  whole.forward.width = width;
  whole.forward.channels = channels;
  whole.forward.stride = ReadStride(stride);
  const Shape shape = ConvolvedShape(images, height, width, whole.forward.stride, channels);
  const Dense upstream(upstream_object, "upstream", shape), y(y_object, "y", shape);
  const Weight weight = Weight::Required(weight_object, "weight", {3, 3, channels});
  const int64_t rows = images * shape[1] * shape[2];
  const BatchNormOf behind(y_norm, "y_norm", channels, exact_epsilon, Activation::kNone);
  if (behind && y_gradients.is_none()) throw py::type_error("y_norm needs y_gradients");
  const Weight of_behind = Weight::Optional(y_gradients, "y_gradients", {2, channels});
  const NormGradientOf gradient(behind, of_behind.data(), rows, channels);
  const BatchNormOf norm = RequireNorm(norm_object, channels, exact_epsilon, activation);
  Output output =
      MakeDenseOutput(out, {images, height, width, channels}, {x.named(), upstream.named(), y.named()});
  const std::vector<py::ssize_t> weight_shape{3, 3, channels};
  py::array_t<float> weight_gradient(weight_shape);
  float* const weight_gradients = weight_gradient.mutable_data();
  std::vector<double> sums = SegmentSums(images, channels);
  whole.forward.norm = norm.channel_norm();
  Unlocked([&] {
    const AlignedBuffer packed =
        Pack(settings.table.dwconv3x3_packing, {channels, whole.forward.stride, Activation::kNone},
             {weight.data(), nullptr});
    whole.forward.packed = packed.data();
    const int64_t parts = images * kDepthwiseSegments, size = 9 * channels;
    std::vector<float> part_gradients(static_cast<size_t>(parts * size));
    RunItems(settings.table.training->norm_depthwise_backward, images, settings.threads, [&](int64_t n) {
      NormDepthwiseBackwardArgs args = whole;
      const int64_t at = n * shape[1] * shape[2] * channels;
      args.gradient = gradient.At(upstream.data() + at, y.data() + at);
      args.forward.input = x.data() + n * height * width * channels;
      args.forward.output = output.view.data + n * height * width * channels;
      args.forward.sums = sums.data() + n * kDepthwiseSegments * 2 * channels;
      args.weight_gradients = part_gradients.data() + n * kDepthwiseSegments * size;
      return args;
    });
    std::vector<double> totals(static_cast<size_t>(size));
    for (size_t i = 0; i < part_gradients.size(); ++i) {
      totals[i % totals.size()] += static_cast<double>(part_gradients[i]);
    }
    for (size_t i = 0; i < totals.size(); ++i) weight_gradients[i] = static_cast<float>(totals[i]);
  });
  return py::make_tuple(output.array, weight_gradient,
                        NormWeightGradients(norm, ChannelSums(sums, channels)));
}

py::array Normalize(const Object& y_object, const Object& norm_object, const Object& residual_object,
                    const Object& epsilon, const Object& silu, const Object& out, const Object& isa,
                    const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  NormalizeArgs args;
  const double exact_epsilon = ReadNormSettings(epsilon, silu, args.activation);
  const Dense y(y_object, "y", {kAnySize, kAnySize});
  args.rows = y.size(0);
  args.channels = y.size(1);
  const BatchNormOf norm = RequireNorm(norm_object, args.channels, exact_epsilon, args.activation);
  std::vector<Named> read{y.named()};
  std::vector<Dense> residual;
  if (!residual_object.is_none()) {
    residual.emplace_back(residual_object, "residual", Shape{args.rows, args.channels});
    read.push_back(residual.front().named());
    args.residual = residual.front().data();
  }
  Output output = MakeDenseOutput(out, {args.rows, args.channels}, read);
  args.input = y.data();
  args.input_stride = args.output_stride = args.residual_stride = args.channels;
  args.scale = norm.channel_norm().scale;
  args.offset = norm.channel_norm().offset;
  args.output = output.view.data;
  Unlocked([&] {
    RunItems(settings.table.training->normalize, 1, settings.threads, [&](int64_t) { return args; });
  });
  return output.array;
}

}  // namespace

void BindTrainingLayerOps(py::module_& ops) {
  const py::none none;
  const py::kw_only kw;
  const auto norm = py::arg("norm");
  const auto epsilon = py::arg("epsilon") = 1e-5;
  const auto silu = py::arg("silu") = false;
  const auto stride = py::arg("stride") = 1;
  const auto out = py::arg("out") = none;
  const auto isa = py::arg("isa") = none;
  const auto threads = py::arg("threads") = none;
  const auto y_norm = py::arg("y_norm"), y_gradients = py::arg("y_gradients");

  ops.def(
      "norm_linear", &NormLinear, py::arg("x"), py::arg("weight"), py::arg("norm") = none, kw, epsilon, silu,
      out, isa, threads,
      "weight @ x [rows, K], with x normalised by norm (weight, bias, mean, variance) and activated where "
      "it is given; and what comes out's mean and variance.");
  ops.def("norm_linear_backward", &NormLinearBackward, py::arg("upstream"), py::arg("y"), py::arg("x"),
          py::arg("weight"), y_norm, y_gradients, py::arg("norm") = none, py::arg("residual") = none, kw,
          epsilon, silu, out, isa, threads,
          "From the gradient behind norm_linear's output y and its norm: the one behind x's own norm, the "
          "weight's, and those [2, C] of the weight and bias of x's norm and of y's.");
  ops.def("norm_depthwise", &NormDepthwise, py::arg("x"), py::arg("weight"), norm, stride, kw, epsilon, silu,
          out, isa, threads,
          "norm_linear's counterpart for a depthwise 3x3 convolution of x [N, H, W, C] by weight [3, 3, C].");
  ops.def("norm_depthwise_backward", &NormDepthwiseBackward, py::arg("upstream"), py::arg("y"), py::arg("x"),
          py::arg("weight"), y_norm, y_gradients, norm, stride, kw, epsilon, silu, out, isa, threads,
          "norm_linear_backward's counterpart for a depthwise 3x3 convolution.");
  ops.def("normalize", &Normalize, py::arg("y"), norm, py::arg("residual") = none, kw, epsilon, silu, out,
          isa, threads, "y [rows, C] normalised by norm and activated, plus the residual.");
}

}  // namespace mvf

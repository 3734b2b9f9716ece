// _C.ops that training needs: gradients, and batch norm by a batch's own statistics.
#include <climits>
#include <cmath>
#include <vector>

#include "engine/training_work.h"
#include "python/arrays.h"
#include "python/bindings.h"
#include "python/channel_norm.h"
#include "python/dense_arrays.h"
#include "python/ops_arguments.h"
#include "python/ops_runner.h"
#include "python/scalars.h"

namespace mvf {
namespace {

// A matrix [rows, channels] whose channels are neighbours in memory.
FloatView ReadMatrix(const Object& object, const char* name, int64_t rows = kAnySize,
                     int64_t channels = kAnySize) {
  const FloatView view = ReadArray<float>(object, name, {rows, channels}, "[rows, channels]");
  RequireUnitChannels(view, name);
  return view;
}

py::array AttentionBackward(const Object& qkv_object, const Object& upstream_object, const Object& heads,
                            const Object& patch_object, const Object& out, const Object& isa,
                            const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView qkv = ReadMap(qkv_object, "qkv"), upstream = ReadMap(upstream_object, "upstream");
  const PatchSize patch = ReadPatchSize(patch_object);
  const int64_t head_count = ReadInt(heads, "heads", 1, INT_MAX);
  RequireDivisible(qkv, head_count, patch);
  RequireShape(upstream, "upstream", {qkv.shape[0], qkv.shape[1], qkv.shape[2], qkv.shape[3] / 3});
  Output output = MakeOpOutput(out, {qkv.shape[0], qkv.shape[1], qkv.shape[2], qkv.shape[3]},
                               {{"qkv", &qkv}, {"upstream", &upstream}});
  Unlocked([&] {
    RunItems(settings.table.training->attention_backward, qkv.shape[0], settings.threads, [&](int64_t n) {
      AttentionBackwardArgs args;
      args.qkv = MapAt(qkv, n);
      args.upstream = MapAt(upstream, n);
      args.gradient = MapAt(output.view, n);
      args.heads = head_count;
      args.patch_height = patch.height;
      args.patch_width = patch.width;
      return args;
    });
  });
  return output.array;
}

py::array WeightGradient(const Object& x_object, const Object& upstream_object, const Object& out,
                         const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView x = ReadMatrix(x_object, "x"),
                  upstream = ReadMatrix(upstream_object, "upstream", x.shape[0]);
  WeightGradientArgs args;
  args.rows = x.shape[0];
  args.in = x.shape[1];
  args.out = upstream.shape[1];
  Output output = MakeOpOutput(out, {args.out, args.in}, {{"x", &x}, {"upstream", &upstream}});
  args.input = x.data;
  args.input_stride = x.strides[0];
  args.upstream = upstream.data;
  args.upstream_stride = upstream.strides[0];
  args.gradient = output.view.data;
  args.gradient_stride = output.view.strides[0];
  Unlocked([&] {
    RunItems(settings.table.training->weight_gradient, 1, settings.threads, [&](int64_t) { return args; });
  });
  return output.array;
}

NormalizeArgs ForwardArgs(const FloatView& x, const ChannelAffine& affine, Activation activation,
                          const FloatView& output) {
  NormalizeArgs args;
  args.rows = x.shape[0];
  args.channels = x.shape[1];
  args.input = x.data;
  args.input_stride = x.strides[0];
  args.scale = affine.scale.data();
  args.offset = affine.offset.data();
  args.activation = activation;
  args.output = output.data;
  args.output_stride = output.strides[0];
  return args;
}

py::tuple BatchNorm(const Object& x_object, const Object& weight_object, const Object& bias_object,
                    const Object& epsilon, const Object& silu, const Object& out, const Object& isa,
                    const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const TrainingKernels& kernels = *settings.table.training;
  const FloatView x = ReadMatrix(x_object, "x");
  const int64_t rows = x.shape[0], channels = x.shape[1];
  if (rows < 1) throw py::value_error("x must have at least one row");
  const Weight weight = Weight::Required(weight_object, "weight", {channels});
  const Weight bias = Weight::Required(bias_object, "bias", {channels});
  Output output = MakeOpOutput(out, {rows, channels}, {{"x", &x}});
  py::array_t<float> mean(channels), variance(channels);
  std::vector<double> chunks = ChunkSums(rows, channels);

  ChannelMomentsArgs moments;
  moments.rows = rows;
  moments.channels = channels;
  moments.input = x.data;
  moments.input_stride = x.strides[0];
  moments.shift = x.data;
  moments.sums = chunks.data();
  float* const means = mean.mutable_data();
  float* const variances = variance.mutable_data();
  const double exact_epsilon = ReadEpsilon(epsilon);
  const Activation activation = ReadSilu(silu);
  Unlocked([&] {
    RunItems(kernels.channel_moments, 1, settings.threads, [&](int64_t) { return moments; });
    const ChannelSums sums(chunks, channels);
    for (int64_t c = 0; c < channels; ++c) {
      const size_t at = static_cast<size_t>(c);
      const double shifted = sums.first[at] / static_cast<double>(rows);
      means[c] = static_cast<float>(x.data[c] + shifted);
      variances[c] =
          static_cast<float>(std::fmax(sums.second[at] / static_cast<double>(rows) - shifted * shifted, 0.0));
    }
    const ChannelAffine affine(weight.data(), bias.data(), means, variances, exact_epsilon,
                               sums.first.size());
    const NormalizeArgs args = ForwardArgs(x, affine, activation, output.view);
    RunItems(kernels.normalize, 1, settings.threads, [&](int64_t) { return args; });
  });
  return py::make_tuple(output.array, mean, variance);
}

py::tuple BatchNormBackward(const Object& x_object, const Object& upstream_object,
                            const Object& weight_object, const Object& bias_object, const Object& mean_object,
                            const Object& variance_object, const Object& epsilon, const Object& silu,
                            const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const TrainingKernels& kernels = *settings.table.training;
  const FloatView x = ReadMatrix(x_object, "x");
  const int64_t rows = x.shape[0], channels = x.shape[1];
  if (rows < 1) throw py::value_error("x must have at least one row");
  const FloatView upstream = ReadMatrix(upstream_object, "upstream", rows, channels);
  const Weight weight = Weight::Required(weight_object, "weight", {channels});
  const Weight bias = Weight::Required(bias_object, "bias", {channels});
  const Weight mean = Weight::Required(mean_object, "mean", {channels});
  const Weight variance = Weight::Required(variance_object, "variance", {channels});
  Output output = MakeOpOutput(out, {rows, channels}, {{"x", &x}, {"upstream", &upstream}});
  py::array_t<float> weight_gradient(channels), bias_gradient(channels);
  float* const weight_gradients = weight_gradient.mutable_data();
  float* const bias_gradients = bias_gradient.mutable_data();
  const double exact_epsilon = ReadEpsilon(epsilon);
  const size_t count = static_cast<size_t>(channels);
  const ChannelAffine affine(weight.data(), bias.data(), mean.data(), variance.data(), exact_epsilon, count);
  std::vector<double> chunks = ChunkSums(rows, channels);
  std::vector<float> input_scale(count), shift(count);

  NormalizeBackwardArgs args;
  args.forward = ForwardArgs(x, affine, ReadSilu(silu), output.view);
  args.upstream = upstream.data;
  args.upstream_stride = upstream.strides[0];
  args.mean = mean.data();
  args.sums = chunks.data();
  args.inner_scale = affine.scale.data();
  args.input_scale = input_scale.data();
  args.shift = shift.data();
  Unlocked([&] {
    RunItems(kernels.normalize_backward_sums, 1, settings.threads, [&](int64_t) { return args; });
    const ChannelSums sums(chunks, channels);
    for (size_t c = 0; c < count; ++c) {
      const double precision = 1.0 / (variance.data()[c] + exact_epsilon);
      const double scale = affine.scale[c] / static_cast<double>(rows);
      weight_gradients[c] = static_cast<float>(sums.second[c] * std::sqrt(precision));
      bias_gradients[c] = static_cast<float>(sums.first[c]);
      input_scale[c] = static_cast<float>(-scale * precision * sums.second[c]);
      shift[c] = static_cast<float>(-scale * sums.first[c]);
    }
    RunItems(kernels.normalize_backward, 1, settings.threads, [&](int64_t) { return args; });
  });
  return py::make_tuple(output.array, weight_gradient, bias_gradient);
}

py::tuple LayerNormBackward(const Object& x_object, const Object& upstream_object, const Object& gamma_object,
                            const Object& epsilon, const Object& out, const Object& isa,
                            const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView x = ReadMatrix(x_object, "x");
  LayerNormBackwardArgs args;
  args.rows = x.shape[0];
  args.channels = x.shape[1];
  if (args.channels < 1) throw py::value_error("x must have at least one channel");
  const FloatView upstream = ReadMatrix(upstream_object, "upstream", args.rows, args.channels);
  const Weight gamma = Weight::Required(gamma_object, "gamma", {args.channels});
  Output output = MakeOpOutput(out, {args.rows, args.channels}, {{"x", &x}, {"upstream", &upstream}});
  py::array_t<float> gamma_gradient(args.channels), beta_gradient(args.channels);
  float* const gamma_gradients = gamma_gradient.mutable_data();
  float* const beta_gradients = beta_gradient.mutable_data();
  std::vector<double> chunks = ChunkSums(args.rows, args.channels);
  args.input = x.data;
  args.input_stride = x.strides[0];
  args.upstream = upstream.data;
  args.upstream_stride = upstream.strides[0];
  args.gamma = gamma.data();
  args.epsilon = ReadEpsilon(epsilon);
  args.output = output.view.data;
  args.output_stride = output.view.strides[0];
  args.sums = chunks.data();
  Unlocked([&] {
    RunItems(settings.table.training->layer_norm_backward, 1, settings.threads,
             [&](int64_t) { return args; });
    const ChannelSums sums(chunks, args.channels);
    for (size_t c = 0; c < sums.first.size(); ++c) {
      gamma_gradients[c] = static_cast<float>(sums.first[c]);
      beta_gradients[c] = static_cast<float>(sums.second[c]);
    }
  });
  return py::make_tuple(output.array, gamma_gradient, beta_gradient);
}

py::array Conv3x3WeightGradient(const Object& x_object, const Object& upstream_object, const Object& stride,
                                const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const Dense x(x_object, "x", {kAnySize, kAnySize, kAnySize, kAnySize});
  Conv3x3WeightGradientArgs args;
  args.images = x.size(0);
  args.height = x.size(1);
  args.width = x.size(2);
  args.in = x.size(3);
  args.stride = ReadStride(stride);
  const Dense upstream(upstream_object, "upstream",
                       ConvolvedShape(args.images, args.height, args.width, args.stride, kAnySize));
  args.out = upstream.size(3);
  Output output = MakeDenseOutput(out, {args.out, 3, 3, args.in}, {x.named(), upstream.named()});
  args.input = x.data();
  args.upstream = upstream.data();
  args.gradient = output.view.data;
  Unlocked([&] {
    RunItems(settings.table.training->conv3x3_weight_gradient, 1, settings.threads,
             [&](int64_t) { return args; });
  });
  return output.array;
}

}  // namespace

void BindTrainingOps(py::module_& ops) {
  const py::none none;
  const py::kw_only kw;
  const auto out = py::arg("out") = none;
  const auto isa = py::arg("isa") = none;
  const auto threads = py::arg("threads") = none;

  ops.def("attention_backward", &AttentionBackward, py::arg("qkv"), py::arg("upstream"), py::arg("heads"),
          py::arg("patch") = py::make_tuple(2, 2), kw, out, isa, threads,
          "The gradient for qkv [N, H, W, 3 * dim] of attention, from that for its output [N, H, W, dim].");
  ops.def("weight_gradient", &WeightGradient, py::arg("x"), py::arg("upstream"), kw, out, isa, threads,
          "The gradient [M, K] of a linear's weight, from its x [rows, K] and the gradient for its output "
          "[rows, M].");
  ops.def("batch_norm", &BatchNorm, py::arg("x"), py::arg("weight"), py::arg("bias"),
          py::arg("epsilon") = 1e-5, py::arg("silu") = false, kw, out, isa, threads,
          "x [rows, C] by its own statistics, then SiLU where asked for: output, mean [C], variance [C].");
  ops.def("batch_norm_backward", &BatchNormBackward, py::arg("x"), py::arg("upstream"), py::arg("weight"),
          py::arg("bias"), py::arg("mean"), py::arg("variance"), py::arg("epsilon") = 1e-5,
          py::arg("silu") = false, kw, out, isa, threads,
          "The gradients for batch_norm's x, weight and bias, from that for its output.");
  ops.def("layer_norm_backward", &LayerNormBackward, py::arg("x"), py::arg("upstream"), py::arg("gamma"),
          py::arg("epsilon") = 1e-5, kw, out, isa, threads,
          "The gradients for layer_norm's x [rows, C], gamma and beta, from that for its output.");
  ops.def("conv3x3_weight_gradient", &Conv3x3WeightGradient, py::arg("x"), py::arg("upstream"),
          py::arg("stride") = 1, kw, out, isa, threads,
          "The gradient [M, 3, 3, C] of conv3x3's weight, from its x [N, H, W, C] and the gradient for its "
          "output.");
}

}  // namespace mvf

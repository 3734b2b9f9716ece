// _C.ops on rows: float32 [..., C] with neighbouring channels and any other strides.
#include <algorithm>

#include "python/arrays.h"
#include "python/bindings.h"
#include "python/ops_arguments.h"
#include "python/ops_runner.h"
#include "python/row_walk.h"
#include "python/scalars.h"

namespace mvf {
namespace {

// Array 1 of the walk to array 0.
void CopyRows(const RowWalk& walk, const FloatView& from, const FloatView& to, int64_t channels) {
  for (int64_t run = 0; run < walk.runs(); ++run) {
    for (int64_t row = 0; row < walk.rows(); ++row) {
      std::copy_n(from.data + walk.Offset(1, run) + row * walk.row_stride(1), channels,
                  to.data + walk.Offset(0, run) + row * walk.row_stride(0));
    }
  }
}

py::array Linear(const Object& x_object, const Object& weight_object, const Object& bias_object,
                 const Object& residual_object, const Object& silu, const Object& normalize,
                 const Object& epsilon, const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView x = ReadRows(x_object, "x");
  const Weight weight = Weight::Required(weight_object, "weight", {kAnySize, x.shape.back()});
  const LinearShape shape{x.shape.back(), weight.size(0), ReadSilu(silu), ReadBool(normalize, "normalize"),
                          ReadEpsilon(epsilon)};
  const Weight bias = Weight::Optional(bias_object, "bias", {shape.out});
  std::vector<Named> read{{"x", &x}};
  FloatView residual;
  const bool has_residual = !residual_object.is_none();
  if (has_residual) {
    residual = ReadRows(residual_object, "residual");
    RequireShape(residual, "residual", WithChannels(x.shape, shape.out));
    read.push_back({"residual", &residual, true});
  }
  Output output = MakeOpOutput(out, WithChannels(x.shape, shape.out), read);
  std::vector<const Strided*> arrays{&x, &output.view};
  if (has_residual) arrays.push_back(&residual);
  const RowWalk walk(arrays);
  Unlocked([&] {
    const AlignedBuffer packed = Pack(settings.table.linear_packing, shape, {weight.data(), bias.data()});
    RunItems(settings.table.linear, walk.runs(), settings.threads, [&](int64_t run) {
      LinearArgs args;
      args.shape = shape;
      args.packed = packed.data();
      args.rows = walk.rows();
      args.input = x.data + walk.Offset(0, run);
      args.input_stride = walk.row_stride(0);
      args.output = output.view.data + walk.Offset(1, run);
      args.output_stride = walk.row_stride(1);
      args.float_output = true;
      if (has_residual) {
        args.residual = residual.data + walk.Offset(2, run);
        args.residual_stride = walk.row_stride(2);
      }
      return args;
    });
  });
  return output.array;
}

py::array Ffn(const Object& stream_object, const Object& up_object, const Object& up_bias_object,
              const Object& down_object, const Object& down_bias_object, const Object& epsilon,
              const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView stream = ReadRows(stream_object, "stream");
  const int64_t dim = stream.shape.back();
  const Weight up = Weight::Required(up_object, "up_weight", {kAnySize, dim});
  const FfnShape shape{dim, up.size(0), ReadEpsilon(epsilon)};
  const Weight up_bias = Weight::Optional(up_bias_object, "up_bias", {shape.hidden});
  const Weight down = Weight::Required(down_object, "down_weight", {dim, shape.hidden});
  const Weight down_bias = Weight::Optional(down_bias_object, "down_bias", {dim});
  Output output = MakeOpOutput(out, WithChannels(stream.shape, dim), {{"stream", &stream, true}});
  const RowWalk walk({&output.view, &stream});
  Unlocked([&] {
    const AlignedBuffer packed = Pack(settings.table.ffn_packing, shape,
                                      {{up.data(), up_bias.data()}, {down.data(), down_bias.data()}});
    if (output.view.data != stream.data) CopyRows(walk, stream, output.view, dim);
    RunItems(settings.table.ffn, walk.runs(), settings.threads, [&](int64_t run) {
      FfnArgs args;
      args.shape = shape;
      args.packed = packed.data();
      args.rows = walk.rows();
      args.stream = output.view.data + walk.Offset(0, run);
      args.stream_stride = walk.row_stride(0);
      return args;
    });
  });
  return output.array;
}

py::array LayerNorm(const Object& x_object, const Object& gamma_object, const Object& beta_object,
                    const Object& epsilon, const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView x = ReadRows(x_object, "x");
  const int64_t channels = x.shape.back();
  const Weight gamma = Weight::Required(gamma_object, "gamma", {channels});
  const Weight beta = Weight::Required(beta_object, "beta", {channels});
  const FloatView gammas = gamma.view("gamma"), betas = beta.view("beta");
  const float epsilon_value = ReadEpsilon(epsilon);
  Output output =
      MakeOpOutput(out, WithChannels(x.shape, channels), {{"x", &x}, {"gamma", &gammas}, {"beta", &betas}});
  const RowWalk walk({&x, &output.view});
  Unlocked([&] {
    RunItems(settings.table.layer_norm, walk.runs(), settings.threads, [&](int64_t run) {
      LayerNormArgs args;
      args.rows = walk.rows();
      args.channels = channels;
      args.input = x.data + walk.Offset(0, run);
      args.input_stride = walk.row_stride(0);
      args.gamma = gammas.data;
      args.beta = betas.data;
      args.output = output.view.data + walk.Offset(1, run);
      args.output_stride = walk.row_stride(1);
      args.epsilon = epsilon_value;
      return args;
    });
  });
  return output.array;
}

py::array Softmax(const Object& x_object, const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView x = ReadRows(x_object, "x");
  Output output = MakeOpOutput(out, WithChannels(x.shape, x.shape.back()), {{"x", &x}});
  const RowWalk walk({&x, &output.view});
  Unlocked([&] {
    RunItems(settings.table.softmax, walk.runs(), settings.threads, [&](int64_t run) {
      SoftmaxArgs args;
      args.rows = walk.rows();
      args.columns = x.shape.back();
      args.input = x.data + walk.Offset(0, run);
      args.input_stride = walk.row_stride(0);
      args.output = output.view.data + walk.Offset(1, run);
      args.output_stride = walk.row_stride(1);
      return args;
    });
  });
  return output.array;
}

}  // namespace

void BindRowOps(py::module_& ops) {
  const py::none none;
  const py::kw_only kw;
  const auto out = py::arg("out") = none;
  const auto isa = py::arg("isa") = none;
  const auto threads = py::arg("threads") = none;
  const auto bias = py::arg("bias") = none;
  const auto epsilon = py::arg("epsilon") = 1e-5;
  const auto silu = py::arg("silu") = false;

  ops.def("linear", &Linear, py::arg("x"), py::arg("weight"), bias, py::arg("residual") = none, silu,
          py::arg("normalize") = false, epsilon, kw, out, isa, threads,
          "x [..., in], weight [out, in] -> activation(x @ weight.T + bias) + residual, [..., out].");
  ops.def("ffn", &Ffn, py::arg("stream"), py::arg("up_weight"), py::arg("up_bias"), py::arg("down_weight"),
          py::arg("down_bias"), epsilon, kw, out, isa, threads,
          "stream [..., dim] -> stream + down(silu(up(normalize(stream)))).");
  ops.def("layer_norm", &LayerNorm, py::arg("x"), py::arg("gamma"), py::arg("beta"), epsilon, kw, out, isa,
          threads, "x [..., C] -> the same shape.");
  ops.def("softmax", &Softmax, py::arg("x"), kw, out, isa, threads, "x [..., C] -> the same shape.");
}

}  // namespace mvf

// _C.ops that convolve: float32 maps [N, H, W, C] with neighbouring channels and any other strides.
#include <stdexcept>

#include "engine/plan_reader.h"
#include "python/arrays.h"
#include "python/bindings.h"
#include "python/ops_arguments.h"
#include "python/ops_runner.h"
#include "python/scalars.h"

namespace mvf {
namespace {

py::array Conv3x3(const Object& x_object, const Object& weight_object, const Object& bias_object,
                  const Object& stride, const Object& silu, const Object& second_object,
                  const Object& algorithm, const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView x = ReadMap(x_object, "x");
  std::vector<Named> read{{"x", &x}};
  FloatView second;
  Conv3x3Shape shape;
  shape.in = x.shape[3];
  if (!second_object.is_none()) {
    second = ReadMap(second_object, "second");
    RequireShape(second, "second", WithChannels(x.shape, second.shape[3]));
    shape.in_second = second.shape[3];
    read.push_back({"second", &second});
  }
  const Weight weight =
      Weight::Required(weight_object, "weight", {kAnySize, 3, 3, shape.in + shape.in_second});
  shape.out = weight.size(0);
  shape.stride = ReadStride(stride);
  shape.activation = ReadSilu(silu);
  shape.algorithm = AlgorithmCalled(ReadString(algorithm, "algorithm"), "algorithm");
  if (shape.algorithm != ConvAlgorithm::kDirect && shape.stride != 1) {
    throw std::invalid_argument("algorithm must be 'direct' where stride is 2");
  }
  const Weight bias = Weight::Optional(bias_object, "bias", {shape.out});
  Output output =
      MakeOpOutput(out, ConvolvedShape(x.shape[0], x.shape[1], x.shape[2], shape.stride, shape.out), read);
  Unlocked([&] {
    const AlignedBuffer packed = Pack(settings.table.conv3x3_packing, shape, {weight.data(), bias.data()});
    RunItems(settings.table.conv3x3, x.shape[0], settings.threads, [&](int64_t n) {
      Conv3x3Args args;
      args.shape = shape;
      args.packed = packed.data();
      args.input = MapAt(x, n);
      if (shape.in_second > 0) args.second = MapAt(second, n);
      args.output = MapAt(output.view, n);
      return args;
    });
  });
  return output.array;
}

py::array Stem(const Object& x_object, const Object& weight_object, const Object& bias_object,
               const Object& stride, const Object& silu, const Object& out, const Object& isa,
               const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView x =
      ReadArray<float>(x_object, "x", {kAnySize, kAnySize, kAnySize, kAnySize}, "[N, C, H, W]");
  for (size_t axis = 1; axis < 4; ++axis) {
    if (x.shape[axis] < 1) {
      throw std::invalid_argument("x must be [N, C, H, W] with C, H and W of at least 1, got " +
                                  ToString(x.shape));
    }
  }
  Conv3x3Shape shape;
  shape.in = x.shape[1];
  const Weight weight = Weight::Required(weight_object, "weight", {kAnySize, 3, 3, shape.in});
  shape.out = weight.size(0);
  shape.stride = ReadStride(stride);
  shape.activation = ReadSilu(silu);
  const Weight bias = Weight::Optional(bias_object, "bias", {shape.out});
  Output output = MakeOpOutput(
      out, ConvolvedShape(x.shape[0], x.shape[2], x.shape[3], shape.stride, shape.out), {{"x", &x}});
  Unlocked([&] {
    const AlignedBuffer packed = Pack(settings.table.stem_packing, shape, {weight.data(), bias.data()});
    RunItems(settings.table.stem, x.shape[0], settings.threads, [&](int64_t n) {
      StemArgs args;
      args.shape = shape;
      args.packed = packed.data();
      args.input = ImageAt(x, n);
      args.output = MapAt(output.view, n);
      return args;
    });
  });
  return output.array;
}

py::array DwConv3x3(const Object& x_object, const Object& weight_object, const Object& bias_object,
                    const Object& stride, const Object& silu, const Object& out, const Object& isa,
                    const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView x = ReadMap(x_object, "x");
  const DwConv3x3Shape shape{x.shape[3], ReadStride(stride), ReadSilu(silu)};
  const Weight weight = Weight::Required(weight_object, "weight", {3, 3, shape.channels});
  const Weight bias = Weight::Optional(bias_object, "bias", {shape.channels});
  Output output = MakeOpOutput(
      out, ConvolvedShape(x.shape[0], x.shape[1], x.shape[2], shape.stride, shape.channels), {{"x", &x}});
  Unlocked([&] {
    const AlignedBuffer packed = Pack(settings.table.dwconv3x3_packing, shape, {weight.data(), bias.data()});
    DwConv3x3Args args;
    args.shape = shape;
    args.packed = packed.data();
    RunMaps(settings.table.dwconv3x3, args, x, output.view, settings.threads);
  });
  return output.array;
}

py::array InvertedResidual(const Object& x_object, const Object& expand_object,
                           const Object& expand_bias_object, const Object& depthwise_object,
                           const Object& depthwise_bias_object, const Object& project_object,
                           const Object& project_bias_object, const Object& stride, const Object& residual,
                           const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView x = ReadMap(x_object, "x");
  InvertedResidualShape shape;
  shape.in = x.shape[3];
  const Weight expand = Weight::Required(expand_object, "expand_weight", {kAnySize, shape.in});
  shape.expanded = expand.size(0);
  const Weight expand_bias = Weight::Optional(expand_bias_object, "expand_bias", {shape.expanded});
  const Weight depthwise = Weight::Required(depthwise_object, "depthwise_weight", {3, 3, shape.expanded});
  const Weight depthwise_bias = Weight::Optional(depthwise_bias_object, "depthwise_bias", {shape.expanded});
  const Weight project = Weight::Required(project_object, "project_weight", {kAnySize, shape.expanded});
  shape.out = project.size(0);
  const Weight project_bias = Weight::Optional(project_bias_object, "project_bias", {shape.out});
  shape.stride = ReadStride(stride);
  shape.residual = ReadBool(residual, "residual");
  RequireResidualFits(shape.residual, shape.stride, shape.in, shape.out);
  Output output = MakeOpOutput(
      out, ConvolvedShape(x.shape[0], x.shape[1], x.shape[2], shape.stride, shape.out), {{"x", &x}});
  Unlocked([&] {
    const InvertedResidualWeights weights{{expand.data(), expand_bias.data()},
                                          {depthwise.data(), depthwise_bias.data()},
                                          {project.data(), project_bias.data()}};
    const AlignedBuffer packed = Pack(settings.table.inverted_residual_packing, shape, weights);
    InvertedResidualArgs args;
    args.shape = shape;
    args.packed = packed.data();
    RunMaps(settings.table.inverted_residual, args, x, output.view, settings.threads);
  });
  return output.array;
}

}  // namespace

void BindConvolutionOps(py::module_& ops) {
  const py::none none;
  const py::kw_only kw;
  const auto out = py::arg("out") = none;
  const auto isa = py::arg("isa") = none;
  const auto threads = py::arg("threads") = none;
  const auto bias = py::arg("bias") = none;
  const auto silu = py::arg("silu") = false;

  ops.def("conv3x3", &Conv3x3, py::arg("x"), py::arg("weight"), bias, py::arg("stride") = 1, silu,
          py::arg("second") = none, py::arg("algorithm") = "direct", kw, out, isa, threads,
          "x [N, H, W, C], weight [out, 3, 3, C + C2], second [N, H, W, C2] -> [N, H', W', out].");
  ops.def("stem", &Stem, py::arg("x"), py::arg("weight"), bias, py::arg("stride") = 2, silu, kw, out, isa,
          threads, "x [N, C, H, W] of any strides, weight [out, 3, 3, C] -> [N, H', W', out].");
  ops.def("dwconv3x3", &DwConv3x3, py::arg("x"), py::arg("weight"), bias, py::arg("stride") = 1, silu, kw,
          out, isa, threads, "x [N, H, W, C], weight [3, 3, C] -> [N, H', W', C].");
  ops.def("inverted_residual", &InvertedResidual, py::arg("x"), py::arg("expand_weight"),
          py::arg("expand_bias"), py::arg("depthwise_weight"), py::arg("depthwise_bias"),
          py::arg("project_weight"), py::arg("project_bias"), py::arg("stride") = 1,
          py::arg("residual") = false, kw, out, isa, threads,
          "x [N, H, W, C], weights [E, C], [3, 3, E], [out, E] -> [N, H', W', out].");
}

}  // namespace mvf

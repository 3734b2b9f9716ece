// _C.ops on maps of bytes: uint8 [N, H, W, C] with neighbouring channels and any other strides.
#include <climits>
#include <stdexcept>

#include "python/bindings.h"
#include "python/int8_arguments.h"
#include "python/ops_runner.h"
#include "python/scalars.h"

namespace mvf {
namespace {

Shape OutputShape(const ByteView& x, int64_t stride, int64_t channels) {
  return ConvolvedShape(x.shape[0], x.shape[1], x.shape[2], stride, channels);
}

py::array Conv3x3(const Object& x_object, const Object& weight, const Object& bias, const Object& multiplier,
                  const Object& offset, const Object& table, const Object& stride, const Object& input_zero,
                  const Object& second_object, const Object& second_zero, const Object& out,
                  const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads, Precision::kInt8);
  const ByteView x = ReadMap<uint8_t>(x_object, "x");
  std::vector<Named> read{{"x", &x}};
  ByteView second;
  Int8Conv3x3Shape shape;
  shape.in = x.shape[3];
  shape.stride = ReadStride(stride);
  shape.input_zero = ReadZero(input_zero, "input_zero");
  shape.second_zero = ReadZero(second_zero, "second_zero");
  if (!second_object.is_none()) {
    second = ReadMap<uint8_t>(second_object, "second");
    RequireShape(second, "second", WithChannels(x.shape, second.shape[3]));
    shape.in_second = second.shape[3];
    read.push_back({"second", &second});
  }
  const Int8Layer layer("", {weight, bias, multiplier, offset, table},
                        {kAnySize, 3, 3, shape.in + shape.in_second}, 0);
  shape.out = layer.out();
  Output output = MakeOpOutput<uint8_t>(out, OutputShape(x, shape.stride, shape.out), read);
  Unlocked([&] {
    const Int8Kernels& kernels = *settings.table.int8;
    const AlignedBuffer packed =
        Pack(kernels.conv3x3_packing, shape, {layer.weights(), layer.requantization()});
    RunItems(kernels.conv3x3, x.shape[0], settings.threads, [&](int64_t n) {
      Int8Conv3x3Args args;
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

py::array DwConv3x3(const Object& x_object, const Object& weight, const Object& bias,
                    const Object& multiplier, const Object& offset, const Object& table, const Object& stride,
                    const Object& input_zero, const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads, Precision::kInt8);
  const ByteView x = ReadMap<uint8_t>(x_object, "x");
  const Int8DwConv3x3Shape shape{x.shape[3], ReadStride(stride), ReadZero(input_zero, "input_zero")};
  const Int8Layer layer("", {weight, bias, multiplier, offset, table}, {3, 3, shape.channels}, 2);
  Output output = MakeOpOutput<uint8_t>(out, OutputShape(x, shape.stride, shape.channels), {{"x", &x}});
  Unlocked([&] {
    const Int8Kernels& kernels = *settings.table.int8;
    const AlignedBuffer packed =
        Pack(kernels.dwconv3x3_packing, shape, {layer.weights(), layer.requantization()});
    RunMaps(kernels.dwconv3x3, Int8DwConv3x3Args{shape, packed.data(), {}, {}}, x, output.view,
            settings.threads);
  });
  return output.array;
}

py::array InvertedResidual(const Object& x_object, const Object& expand_weight, const Object& expand_bias,
                           const Object& expand_multiplier, const Object& expand_offset,
                           const Object& expand_table, const Object& depthwise_weight,
                           const Object& depthwise_bias, const Object& depthwise_multiplier,
                           const Object& depthwise_offset, const Object& depthwise_table,
                           const Object& project_weight, const Object& project_bias,
                           const Object& project_multiplier, const Object& project_offset,
                           const Object& stride, const Object& residual_multiplier, const Object& input_zero,
                           const Object& expanded_zero, const Object& depthwise_zero, const Object& out,
                           const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads, Precision::kInt8);
  const ByteView x = ReadMap<uint8_t>(x_object, "x");
  Int8InvertedResidualShape shape;
  shape.in = x.shape[3];
  const Int8Layer expand("expand_",
                         {expand_weight, expand_bias, expand_multiplier, expand_offset, expand_table},
                         {kAnySize, shape.in}, 0);
  shape.expanded = expand.out();
  const Int8Layer depthwise(
      "depthwise_",
      {depthwise_weight, depthwise_bias, depthwise_multiplier, depthwise_offset, depthwise_table},
      {3, 3, shape.expanded}, 2);
  const Int8Layer project("project_",
                          {project_weight, project_bias, project_multiplier, project_offset, py::none()},
                          {kAnySize, shape.expanded}, 0);
  shape.out = project.out();
  shape.stride = ReadStride(stride);
  shape.input_zero = ReadZero(input_zero, "input_zero");
  shape.expanded_zero = ReadZero(expanded_zero, "expanded_zero");
  shape.depthwise_zero = ReadZero(depthwise_zero, "depthwise_zero");
  shape.residual = !residual_multiplier.is_none();
  if (shape.residual) shape.residual_multiplier = ReadFloat(residual_multiplier, "residual_multiplier");
  RequireResidualFits(shape.residual, shape.stride, shape.in, shape.out);
  Output output = MakeOpOutput<uint8_t>(out, OutputShape(x, shape.stride, shape.out), {{"x", &x}});
  Unlocked([&] {
    const Int8Kernels& kernels = *settings.table.int8;
    const Int8InvertedResidualWeights weights{expand.weights(),    expand.requantization(),
                                              depthwise.weights(), depthwise.requantization(),
                                              project.weights(),   project.requantization()};
    const AlignedBuffer packed = Pack(kernels.inverted_residual_packing, shape, weights);
    RunMaps(kernels.inverted_residual, Int8InvertedResidualArgs{shape, packed.data(), {}, {}}, x, output.view,
            settings.threads);
  });
  return output.array;
}

py::array Attention(const Object& qkv_object, const Object& heads, const Object& score_scale,
                    const Object& output_multiplier, const Object& output_zero, const Object& patch_object,
                    const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads, Precision::kInt8);
  const ByteView qkv = ReadMap<uint8_t>(qkv_object, "qkv");
  const PatchSize patch = ReadPatchSize(patch_object);
  Int8AttentionArgs like;
  like.heads = ReadInt(heads, "heads", 1, INT_MAX);
  RequireDivisible(qkv, like.heads, patch);
  like.patch_height = patch.height;
  like.patch_width = patch.width;
  like.score_scale = ReadScale(score_scale, "score_scale");
  like.output_multiplier = ReadScale(output_multiplier, "output_multiplier");
  like.output_zero = ReadZero(output_zero, "output_zero");
  const int64_t tokens = qkv.shape[1] / patch.height * (qkv.shape[2] / patch.width);
  const int64_t head_dim = qkv.shape[3] / (3 * like.heads);
  if (tokens > kMaxInt8Tokens || head_dim > kMaxInt8Inputs) {
    throw std::invalid_argument("qkv has " + std::to_string(tokens) +
                                " tokens at each position of a patch and " + std::to_string(head_dim) +
                                " channels in a head; at most " + std::to_string(kMaxInt8Tokens) + " and " +
                                std::to_string(kMaxInt8Inputs) + " can be summed in 32 bits");
  }
  Output output = MakeOpOutput<uint8_t>(out, WithChannels(qkv.shape, qkv.shape[3] / 3), {{"qkv", &qkv}});
  Unlocked([&] {
    RunItems(settings.table.int8->attention, qkv.shape[0], settings.threads, [&](int64_t n) {
      Int8AttentionArgs args = like;
      args.qkv = MapAt(qkv, n);
      args.output = MapAt(output.view, n);
      return args;
    });
  });
  return output.array;
}

}  // namespace

void BindInt8MapOps(py::module_& ops) {
  const py::none none;
  const py::kw_only kw;
  const auto out = py::arg("out") = none;
  const auto isa = py::arg("isa") = none;
  const auto threads = py::arg("threads") = none;
  const auto offset = py::arg("offset") = none;
  const auto table = py::arg("table") = none;
  const auto stride = py::arg("stride") = 1;
  const auto input_zero = py::arg("input_zero") = 0;

  ops.def("int8_conv3x3", &Conv3x3, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("multiplier"),
          offset, table, stride, input_zero, py::arg("second") = none, py::arg("second_zero") = 0, kw, out,
          isa, threads, "x uint8 [N, H, W, C], weight int8 [out, 3, 3, C + C2] -> uint8 [N, H', W', out].");
  ops.def("int8_dwconv3x3", &DwConv3x3, py::arg("x"), py::arg("weight"), py::arg("bias"),
          py::arg("multiplier"), offset, table, stride, input_zero, kw, out, isa, threads,
          "x uint8 [N, H, W, C], weight int8 [3, 3, C] -> uint8 [N, H', W', C].");
  ops.def("int8_inverted_residual", &InvertedResidual, py::arg("x"), py::arg("expand_weight"),
          py::arg("expand_bias"), py::arg("expand_multiplier"), py::arg("expand_offset"),
          py::arg("expand_table"), py::arg("depthwise_weight"), py::arg("depthwise_bias"),
          py::arg("depthwise_multiplier"), py::arg("depthwise_offset"), py::arg("depthwise_table"),
          py::arg("project_weight"), py::arg("project_bias"), py::arg("project_multiplier"),
          py::arg("project_offset"), stride, py::arg("residual_multiplier") = none, input_zero,
          py::arg("expanded_zero") = 0, py::arg("depthwise_zero") = 0, kw, out, isa, threads,
          "x uint8 [N, H, W, C], weights int8 [E, C], [3, 3, E], [out, E] -> uint8 [N, H', W', out].");
  ops.def("int8_attention", &Attention, py::arg("qkv"), py::arg("heads"), py::arg("score_scale"),
          py::arg("output_multiplier"), py::arg("output_zero"), py::arg("patch") = py::make_tuple(2, 2), kw,
          out, isa, threads, "qkv uint8 [N, H, W, 3 * dim] -> uint8 [N, H, W, dim].");
}

}  // namespace mvf

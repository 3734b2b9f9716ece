// _C.ops on maps that have no weights: float32 [N, H, W, C] with neighbouring channels and any other strides.
#include <climits>

#include "python/arrays.h"
#include "python/bindings.h"
#include "python/ops_arguments.h"
#include "python/ops_runner.h"
#include "python/scalars.h"

namespace mvf {
namespace {

py::array Attention(const Object& qkv_object, const Object& heads, const Object& patch_object,
                    const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView qkv = ReadMap(qkv_object, "qkv");
  const PatchSize patch = ReadPatchSize(patch_object);
  const int64_t head_count = ReadInt(heads, "heads", 1, INT_MAX), channels = qkv.shape[3];
  RequireDivisible(qkv, head_count, patch);
  Output output =
      MakeOpOutput(out, {qkv.shape[0], qkv.shape[1], qkv.shape[2], channels / 3}, {{"qkv", &qkv}});
  Unlocked([&] {
    RunItems(settings.table.attention, qkv.shape[0], settings.threads, [&](int64_t n) {
      AttentionArgs args;
      args.qkv = MapAt(qkv, n);
      args.output = MapAt(output.view, n);
      args.heads = head_count;
      args.patch_height = patch.height;
      args.patch_width = patch.width;
      return args;
    });
  });
  return output.array;
}

py::array Resize(const Object& x_object, const Object& height, const Object& width, const Object& out,
                 const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView x = ReadMap(x_object, "x");
  Output output = MakeOpOutput(
      out,
      {x.shape[0], ReadInt(height, "height", 1, INT_MAX), ReadInt(width, "width", 1, INT_MAX), x.shape[3]},
      {{"x", &x}});
  Unlocked([&] {
    RunItems(settings.table.resize, x.shape[0], settings.threads, [&](int64_t n) {
      ResizeArgs args;
      args.input = MapAt(x, n);
      args.output = MapAt(output.view, n);
      return args;
    });
  });
  return output.array;
}

py::array GlobalPool(const Object& x_object, const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads);
  const FloatView x = ReadMap(x_object, "x");
  Output output = MakeOpOutput(out, {x.shape[0], x.shape[3]}, {{"x", &x}});
  Unlocked([&] {
    RunItems(settings.table.global_pool, x.shape[0], settings.threads, [&](int64_t n) {
      GlobalPoolArgs args;
      args.input = MapAt(x, n);
      args.output = output.view.data + n * output.view.strides[0];
      args.float_output = true;
      return args;
    });
  });
  return output.array;
}

}  // namespace

void BindMapOps(py::module_& ops) {
  const py::none none;
  const py::kw_only kw;
  const auto out = py::arg("out") = none;
  const auto isa = py::arg("isa") = none;
  const auto threads = py::arg("threads") = none;

  ops.def("attention", &Attention, py::arg("qkv"), py::arg("heads"), py::arg("patch") = py::make_tuple(2, 2),
          kw, out, isa, threads, "qkv [N, H, W, 3 * dim] -> [N, H, W, dim].");
  ops.def("resize", &Resize, py::arg("x"), py::arg("height"), py::arg("width"), kw, out, isa, threads,
          "x [N, H, W, C] -> [N, height, width, C], bilinear, half-pixel centres.");
  ops.def("global_pool", &GlobalPool, py::arg("x"), kw, out, isa, threads, "x [N, H, W, C] -> [N, C].");
}

}  // namespace mvf

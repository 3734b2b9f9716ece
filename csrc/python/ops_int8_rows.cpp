// _C.ops.int8_linear: rows of bytes, or of floats that are quantised on the way.
#include <stdexcept>
#include <type_traits>

#include "python/bindings.h"
#include "python/int8_arguments.h"
#include "python/ops_runner.h"
#include "python/row_walk.h"
#include "python/scalars.h"

namespace mvf {
namespace {

// The arguments but for the rows.
struct LinearCall {
  const Int8Kernels& kernels;
  int threads;
  Int8LinearShape shape;
  const Int8Layer& layer;
  Activation activation;
  const FloatView* residual;  // or null
};

template <class Out, class In>
py::array RunLinear(const LinearCall& call, const View<In>& x, const Object& out) {
  constexpr bool kSums = std::is_same_v<Out, int32_t>;
  std::vector<Named> read{{"x", &x}};
  std::vector<const Strided*> arrays{&x};
  if (call.residual) {
    read.push_back({"residual", call.residual, true});
    arrays.push_back(call.residual);
  }
  Output output = MakeOpOutput<Out>(out, WithChannels(x.shape, call.shape.out), read);
  arrays.push_back(&output.view);
  const RowWalk walk(arrays);
  const size_t last = arrays.size() - 1;
  if (kSums && !output.view.empty() && walk.row_stride(last) != call.shape.out) {
    throw std::invalid_argument("out must be dense where sums are asked for; pass out=None");
  }
  Unlocked([&] {
    const AlignedBuffer packed = Pack(call.kernels.linear_packing, call.shape,
                                      {call.layer.weights(), call.layer.requantization(), call.activation});
    RunItems(call.kernels.linear, walk.runs(), call.threads, [&](int64_t run) {
      Int8LinearArgs args;
      args.shape = call.shape;
      args.packed = packed.data();
      args.rows = walk.rows();
      args.input = x.data + walk.Offset(0, run);
      args.input_stride = walk.row_stride(0);
      Out* const to = output.view.data + walk.Offset(last, run);
      if constexpr (kSums) {
        args.sums = to;
      } else {
        args.output = to;
        args.output_stride = walk.row_stride(last);
      }
      if (call.residual) {
        args.residual = call.residual->data + walk.Offset(1, run);
        args.residual_stride = walk.row_stride(1);
      }
      return args;
    });
  });
  return output.array;
}

void Refuse(bool given, const char* what, const char* needed) {
  if (given) throw std::invalid_argument(std::string(what) + " needs " + needed);
}

py::array Linear(const Object& x_object, const Object& weight, const Object& bias, const Object& multiplier,
                 const Object& offset, const Object& table, const Object& residual_object,
                 const Object& input_zero, const Object& input_scale, const Object& silu,
                 const Object& normalize, const Object& epsilon, const Object& float_output_object,
                 const Object& sums_object, const Object& out, const Object& isa, const Object& threads) {
  const OpSettings settings = ReadSettings(isa, threads, Precision::kInt8);
  const bool bytes = py::isinstance<py::array_t<uint8_t>>(x_object);
  if (!bytes && !py::isinstance<py::array_t<float>>(x_object)) {
    throw py::type_error("x must be a uint8 or float32 NumPy array, got " +
                         (py::isinstance<py::array>(x_object)
                              ? py::str(x_object.attr("dtype")).cast<std::string>()
                              : std::string(Py_TYPE(x_object.ptr())->tp_name)));
  }
  const bool sums = ReadBool(sums_object, "sums"),
             float_output = ReadBool(float_output_object, "float_output");
  Int8LinearShape shape;
  shape.input_zero = ReadZero(input_zero, "input_zero");
  shape.normalize = ReadBool(normalize, "normalize");
  shape.epsilon = ReadEpsilon(epsilon);
  shape.float_output = float_output;
  if (!input_scale.is_none()) shape.input_scale = ReadScale(input_scale, "input_scale");
  shape.input = bytes ? Int8Input::kBytes : input_scale.is_none() ? Int8Input::kDynamic : Int8Input::kStatic;
  Refuse(bytes && shape.normalize, "normalize=True", "float32 rows");
  Refuse(bytes && !input_scale.is_none(), "input_scale", "float32 rows");
  Refuse(shape.input == Int8Input::kDynamic && shape.input_zero != 0, "input_zero", "an input_scale");
  Refuse(shape.input == Int8Input::kDynamic && !float_output && !sums, "x of float32",
         "an input_scale, float_output=True or sums=True");
  const auto call = [&](const auto& x) {
    shape.in = x.shape.back();
    const Int8Layer layer("", {weight, bias, multiplier, offset, table}, {kAnySize, shape.in}, 0);
    shape.out = layer.out();
    const Activation activation = ReadSilu(silu);
    Refuse(!float_output && activation != Activation::kNone, "silu=True", "float_output=True");
    Refuse(!float_output && !residual_object.is_none(), "residual", "float_output=True");
    Refuse(float_output && layer.has_table(), "table", "byte output");
    Refuse(float_output && sums, "sums=True", "float_output=False");
    FloatView residual;
    if (!residual_object.is_none()) {
      residual = ReadRows(residual_object, "residual");
      RequireShape(residual, "residual", WithChannels(x.shape, shape.out));
    }
    const LinearCall linear{*settings.table.int8,
                            settings.threads,
                            shape,
                            layer,
                            activation,
                            residual_object.is_none() ? nullptr : &residual};
    if (sums) return RunLinear<int32_t>(linear, x, out);
    if (float_output) return RunLinear<float>(linear, x, out);
    return RunLinear<uint8_t>(linear, x, out);
  };
  return bytes ? call(ReadRows<uint8_t>(x_object, "x")) : call(ReadRows<float>(x_object, "x"));
}

}  // namespace

void BindInt8RowOps(py::module_& ops) {
  const py::none none;
  ops.def("int8_linear", &Linear, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("multiplier"),
          py::arg("offset") = none, py::arg("table") = none, py::arg("residual") = none,
          py::arg("input_zero") = 0, py::arg("input_scale") = none, py::arg("silu") = false,
          py::arg("normalize") = false, py::arg("epsilon") = 1e-5, py::arg("float_output") = false,
          py::arg("sums") = false, py::kw_only(), py::arg("out") = none, py::arg("isa") = none,
          py::arg("threads") = none,
          "x uint8 or float32 [..., in], weight int8 [out, in] -> uint8, float32 or int32 [..., out].");
}

}  // namespace mvf

"""The operations on bytes as torch custom operators, `torch.ops.mobilevit_fast.int8_*`.

Activations are uint8 with one scale and zero point for a tensor, real = scale * (q - zero_point); weights are
symmetric int8 with a scale for each output channel. A layer's integer sum, bias + sum((q - zero) * weight),
becomes a byte by

    table[clamp(round(fma(sum, multiplier, offset)), 0, 255)]

without the table where it is None. `multiplier` is input_scale * weight_scale / output_scale, `offset` the
output's zero point and `table` any function of one byte, such as SiLU between two grids. All are float32
[out], but for the table: uint8 [256]; biases are int32 [out]. Results are equal on every processor.

Layouts are those of the float operations in `library`. On the CPU kernels compute, on other devices the
formulas in `int8_reference`, to the same bits but for SiLU of float output. There are no gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mobilevit_fast.ops import int8_native, int8_reference
from mobilevit_fast.ops.checks import (
    check_devices,
    check_dtypes,
    check_map,
    check_patches,
    check_positive,
    check_rank,
    check_residual,
    check_shape,
    check_stride,
    check_zero_point,
)
from mobilevit_fast.ops.library import NAMESPACE, define, empty_map

INT8_SCHEMAS = {
    # input uint8 [..., K], or float32, quantised with input_scale and input_zero, or by each row's own range
    # where there is no input_scale. weight [M, K] -> uint8 [..., M]; or with `float_output`
    # silu(sum * multiplier + offset) + residual, float32, where the multiplier lacks the output's scale, and
    # with rows of their own range the input's.
    "int8_linear": (
        "(Tensor input, Tensor weight, Tensor? bias, Tensor multiplier, Tensor? offset=None, "
        "Tensor? table=None, Tensor? residual=None, int input_zero=0, float? input_scale=None, "
        "bool silu=False, bool float_output=False) -> Tensor"
    ),
    # input uint8 [N, C, H, W], second [N, C2, H, W], weight [K, C + C2, 3, 3], padding 1 with the zero points
    # -> uint8 [N, K, ceil(H / stride), ceil(W / stride)]
    "int8_conv3x3": (
        "(Tensor input, Tensor weight, Tensor? bias, Tensor multiplier, Tensor? offset=None, "
        "Tensor? table=None, int stride=1, int input_zero=0, Tensor? second=None, int second_zero=0) "
        "-> Tensor"
    ),
    # The same with one input and weight [C, 1, 3, 3].
    "int8_dwconv3x3": (
        "(Tensor input, Tensor weight, Tensor? bias, Tensor multiplier, Tensor? offset=None, "
        "Tensor? table=None, int stride=1, int input_zero=0) -> Tensor"
    ),
    # A 1x1, a depthwise 3x3 and a 1x1 layer, weights [E, C, 1, 1], [E, 1, 3, 3] and [K, E, 1, 1]. With
    # residual_multiplier, which needs stride 1 and K = C, the last is clamp(round(fma(input,
    # residual_multiplier, fma(sum, multiplier, offset)))).
    "int8_inverted_residual": (
        "(Tensor input, "
        "Tensor expand_weight, Tensor? expand_bias, Tensor expand_multiplier, Tensor? expand_offset, "
        "Tensor? expand_table, "
        "Tensor depthwise_weight, Tensor? depthwise_bias, Tensor depthwise_multiplier, "
        "Tensor? depthwise_offset, Tensor? depthwise_table, "
        "Tensor project_weight, Tensor? project_bias, Tensor project_multiplier, Tensor? project_offset, "
        "int stride=1, float? residual_multiplier=None, int input_zero=0, int expanded_zero=0, "
        "int depthwise_zero=0) -> Tensor"
    ),
    # qkv uint8 [N, H, W, 3 * dim] around 128, all heads' q, then k, then v -> uint8 [N, H, W, dim]:
    # softmax(score_scale * (q - 128) (k - 128)^T) (v - 128) * output_multiplier + output_zero among pixels
    # of equal position in their patch, weights in 8 bits.
    "int8_attention": (
        "(Tensor qkv, int heads, float score_scale, float output_multiplier, int output_zero, "
        "int patch_height=2, int patch_width=2) -> Tensor"
    ),
}

INT8_NAMES = tuple(INT8_SCHEMAS)
"""All operations on bytes of `torch.ops.mobilevit_fast`."""

_library = torch.library.Library(NAMESPACE, "FRAGMENT")


def _check_layer(
    name: str,
    input: Tensor,
    prefix: str,
    layer: tuple[Tensor, Tensor | None, Tensor, Tensor | None, Tensor | None],
    weight_shape: tuple[int, ...],
) -> None:
    weight, bias, multiplier, offset, table = layer
    parts = zip(("weight", "bias", "multiplier", "offset", "table"), layer, strict=True)
    check_devices(name, {"input": input, **{f"{prefix}{part}": tensor for part, tensor in parts}})
    out = weight_shape[0]
    check_dtypes(name, {f"{prefix}weight": weight}, torch.int8)
    check_dtypes(name, {f"{prefix}bias": bias}, torch.int32)
    check_dtypes(name, {f"{prefix}multiplier": multiplier, f"{prefix}offset": offset}, torch.float32)
    check_dtypes(name, {f"{prefix}table": table}, torch.uint8)
    check_shape(name, f"{prefix}weight", weight, weight_shape)
    check_shape(name, f"{prefix}bias", bias, (out,))
    check_shape(name, f"{prefix}multiplier", multiplier, (out,))
    check_shape(name, f"{prefix}offset", offset, (out,))
    check_shape(name, f"{prefix}table", table, (256,))


def empty_int8_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    multiplier: Tensor,
    offset: Tensor | None = None,
    table: Tensor | None = None,
    residual: Tensor | None = None,
    input_zero: int = 0,
    input_scale: float | None = None,
    silu: bool = False,
    float_output: bool = False,
) -> Tensor:
    name = "int8_linear"
    check_dtypes(name, {"input": input}, torch.uint8, torch.float32)
    check_dtypes(name, {"residual": residual}, torch.float32)
    check_devices(name, {"input": input, "residual": residual})
    check_zero_point(name, "input_zero", input_zero)
    check_rank(name, "weight", weight, "[M, K]")
    if input.ndim < 1:
        raise ValueError(f"{name}: input must be [..., K], got a scalar")
    out = weight.shape[0]
    _check_layer(name, input, "", (weight, bias, multiplier, offset, table), (out, input.shape[-1]))
    check_shape(name, "residual", residual, (*input.shape[:-1], out))
    is_float = input.dtype == torch.float32
    if input_scale is not None:
        check_positive(name, "input_scale", input_scale)
    dynamic = is_float and input_scale is None
    for wrong, argument, needed in (
        (not is_float and input_scale is not None, "input_scale", "a float32 input"),
        (dynamic and input_zero != 0, "input_zero", "an input_scale"),
        (dynamic and not float_output, "a float32 input", "an input_scale or float_output"),
        (float_output and table is not None, "table", "bytes out: float_output=False"),
        (silu and not float_output, "silu", "float_output"),
        (residual is not None and not float_output, "residual", "float_output"),
    ):
        if wrong:
            raise ValueError(f"{name}: {argument} needs {needed}")
    dtype = torch.float32 if float_output else torch.uint8
    return input.new_empty((*input.shape[:-1], out), dtype=dtype)


def empty_int8_conv3x3(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    multiplier: Tensor,
    offset: Tensor | None = None,
    table: Tensor | None = None,
    stride: int = 1,
    input_zero: int = 0,
    second: Tensor | None = None,
    second_zero: int = 0,
) -> Tensor:
    name = "int8_conv3x3"
    _check_bytes_map(name, input, stride)
    check_zero_point(name, "input_zero", input_zero)
    check_zero_point(name, "second_zero", second_zero)
    channels = input.shape[1]
    if second is not None:
        check_dtypes(name, {"second": second}, torch.uint8)
        check_devices(name, {"input": input, "second": second})
        check_rank(name, "second", second, "[N, C, H, W]")
        check_shape(name, "second", second, (input.shape[0], second.shape[1], *input.shape[2:]))
        channels += second.shape[1]
    check_rank(name, "weight", weight, "[K, C, 3, 3]")
    out = weight.shape[0]
    _check_layer(name, input, "", (weight, bias, multiplier, offset, table), (out, channels, 3, 3))
    return empty_map(input, out, stride)


def empty_int8_dwconv3x3(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    multiplier: Tensor,
    offset: Tensor | None = None,
    table: Tensor | None = None,
    stride: int = 1,
    input_zero: int = 0,
) -> Tensor:
    name = "int8_dwconv3x3"
    _check_bytes_map(name, input, stride)
    check_zero_point(name, "input_zero", input_zero)
    channels = input.shape[1]
    _check_layer(name, input, "", (weight, bias, multiplier, offset, table), (channels, 1, 3, 3))
    return empty_map(input, channels, stride)


def empty_int8_inverted_residual(
    input: Tensor,
    expand_weight: Tensor,
    expand_bias: Tensor | None,
    expand_multiplier: Tensor,
    expand_offset: Tensor | None,
    expand_table: Tensor | None,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor | None,
    depthwise_multiplier: Tensor,
    depthwise_offset: Tensor | None,
    depthwise_table: Tensor | None,
    project_weight: Tensor,
    project_bias: Tensor | None,
    project_multiplier: Tensor,
    project_offset: Tensor | None,
    stride: int = 1,
    residual_multiplier: float | None = None,
    input_zero: int = 0,
    expanded_zero: int = 0,
    depthwise_zero: int = 0,
) -> Tensor:
    name = "int8_inverted_residual"
    _check_bytes_map(name, input, stride)
    check_zero_point(name, "input_zero", input_zero)
    check_zero_point(name, "expanded_zero", expanded_zero)
    check_zero_point(name, "depthwise_zero", depthwise_zero)
    check_rank(name, "expand_weight", expand_weight, "[E, C, 1, 1]")
    check_rank(name, "project_weight", project_weight, "[K, E, 1, 1]")
    channels, hidden, out = input.shape[1], expand_weight.shape[0], project_weight.shape[0]
    expand = (expand_weight, expand_bias, expand_multiplier, expand_offset, expand_table)
    depthwise = (depthwise_weight, depthwise_bias, depthwise_multiplier, depthwise_offset, depthwise_table)
    project = (project_weight, project_bias, project_multiplier, project_offset, None)
    _check_layer(name, input, "expand_", expand, (hidden, channels, 1, 1))
    _check_layer(name, input, "depthwise_", depthwise, (hidden, 1, 3, 3))
    _check_layer(name, input, "project_", project, (out, hidden, 1, 1))
    check_residual(name, residual_multiplier is not None, stride, channels, out)
    return empty_map(input, out, stride)


def empty_int8_attention(
    qkv: Tensor,
    heads: int,
    score_scale: float,
    output_multiplier: float,
    output_zero: int,
    patch_height: int = 2,
    patch_width: int = 2,
) -> Tensor:
    name = "int8_attention"
    check_dtypes(name, {"qkv": qkv}, torch.uint8)
    check_positive(name, "score_scale", score_scale)
    check_positive(name, "output_multiplier", output_multiplier)
    check_zero_point(name, "output_zero", output_zero)
    return qkv.new_empty(check_patches(name, qkv, heads, patch_height, patch_width))


def _check_bytes_map(name: str, input: Tensor, stride: int) -> None:
    check_dtypes(name, {"input": input}, torch.uint8)
    check_map(name, "input", input, "NCHW")
    check_stride(name, stride)


_EMPTY = {
    "int8_linear": empty_int8_linear,
    "int8_conv3x3": empty_int8_conv3x3,
    "int8_dwconv3x3": empty_int8_dwconv3x3,
    "int8_inverted_residual": empty_int8_inverted_residual,
    "int8_attention": empty_int8_attention,
}


def _register(name: str, schema: str) -> None:
    empty, kernel, formula = _EMPTY[name], getattr(int8_native, name), getattr(int8_reference, name)

    def compute(*arguments: Any) -> Tensor:
        output = empty(*arguments)
        if output.device.type != "cpu":
            return formula(*arguments)
        if output.numel():
            kernel(*arguments, output)
        return output

    define(_library, name, schema, empty, compute)


for _name, _schema in INT8_SCHEMAS.items():
    _register(_name, _schema)

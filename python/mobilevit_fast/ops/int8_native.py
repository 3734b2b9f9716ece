"""The operations on bytes on `_C`.

The arguments are those of the schemas in `int8`, already checked, and then the output to fill: a map in
channels_last memory or dense rows. Kernels use as many threads as torch does.
"""

from __future__ import annotations

from torch import Tensor

from mobilevit_fast import _C
from mobilevit_fast.ops.native import as_array, as_map, as_rows, intra_op_threads


def int8_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    multiplier: Tensor,
    offset: Tensor | None,
    table: Tensor | None,
    residual: Tensor | None,
    input_zero: int,
    input_scale: float | None,
    silu: bool,
    float_output: bool,
    output: Tensor,
) -> None:
    _C.ops.int8_linear(
        as_rows(input),
        *(as_array(tensor) for tensor in (weight, bias, multiplier, offset, table)),
        None if residual is None else as_rows(residual),
        input_zero,
        input_scale,
        silu,
        float_output=float_output,
        out=as_rows(output),
        threads=intra_op_threads(),
    )


def int8_conv3x3(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    multiplier: Tensor,
    offset: Tensor | None,
    table: Tensor | None,
    stride: int,
    input_zero: int,
    second: Tensor | None,
    second_zero: int,
    output: Tensor,
) -> None:
    _C.ops.int8_conv3x3(
        as_map(input),
        *(as_array(tensor) for tensor in (weight.permute(0, 2, 3, 1), bias, multiplier, offset, table)),
        stride,
        input_zero,
        None if second is None else as_map(second),
        second_zero,
        out=as_map(output),
        threads=intra_op_threads(),
    )


def int8_dwconv3x3(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    multiplier: Tensor,
    offset: Tensor | None,
    table: Tensor | None,
    stride: int,
    input_zero: int,
    output: Tensor,
) -> None:
    _C.ops.int8_dwconv3x3(
        as_map(input),
        *(as_array(tensor) for tensor in (_taps(weight), bias, multiplier, offset, table)),
        stride,
        input_zero,
        out=as_map(output),
        threads=intra_op_threads(),
    )


def int8_inverted_residual(
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
    stride: int,
    residual_multiplier: float | None,
    input_zero: int,
    expanded_zero: int,
    depthwise_zero: int,
    output: Tensor,
) -> None:
    expand = (expand_weight[:, :, 0, 0], expand_bias, expand_multiplier, expand_offset, expand_table)
    depthwise = (_taps(depthwise_weight), depthwise_bias, depthwise_multiplier, depthwise_offset)
    project = (project_weight[:, :, 0, 0], project_bias, project_multiplier, project_offset)
    _C.ops.int8_inverted_residual(
        as_map(input),
        *(as_array(tensor) for tensor in (*expand, *depthwise, depthwise_table, *project)),
        stride,
        residual_multiplier,
        input_zero,
        expanded_zero,
        depthwise_zero,
        out=as_map(output),
        threads=intra_op_threads(),
    )


def int8_attention(
    qkv: Tensor,
    heads: int,
    score_scale: float,
    output_multiplier: float,
    output_zero: int,
    patch_height: int,
    patch_width: int,
    output: Tensor,
) -> None:
    _C.ops.int8_attention(
        as_rows(qkv),
        heads,
        score_scale,
        output_multiplier,
        output_zero,
        (patch_height, patch_width),
        out=as_rows(output),
        threads=intra_op_threads(),
    )


def _taps(weight: Tensor) -> Tensor:
    """[C, 1, 3, 3] as [3, 3, C]."""
    return weight[:, 0].permute(1, 2, 0)

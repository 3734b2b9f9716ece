"""The operations on bytes in torch's own operators, bit for bit what the kernels give, on any device.

Integer sums are products of float64 matrices, which are exact: all that is added stays far below 2^53. The
arguments are those of the schemas in `int8`, already checked.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.ops.reference import merge_heads, split_heads

_LARGEST_BYTE = 255.0
_LEAST_NORMAL = 2.0**-126
"""Below it a row's scale has no inverse."""

_DISTANCE_STEPS = 2954.63944
_DISTANCE_LIMIT = 32767.0
"""Attention's weights: see csrc/kernels/int8_exp2-inl.h."""


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
) -> Tensor:
    if input.dtype == torch.uint8:
        centered = input.double() - input_zero
    elif input_scale is not None:
        scale = _number(input, input_scale)
        centered = _quantize(input, scale, _number(input, input_zero)).double() - input_zero
    else:
        scale, zero = _range_of_rows(input)
        centered = _quantize(input, scale, zero).double() - zero
        multiplier = multiplier * scale
    sums = _add_bias(centered @ weight.double().T, bias)
    if not float_output:
        return _requantize(sums, multiplier, offset, table)
    output = _fused_multiply_add(sums.float(), multiplier, _or_zeros(offset, multiplier))
    output = functional.silu(output) if silu else output
    return output if residual is None else output + residual


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
) -> Tensor:
    rows = _rows(input).double() - input_zero
    if second is not None:
        rows = torch.cat((rows, _rows(second).double() - second_zero), -1)
    taps = weight.double().permute(2, 3, 1, 0)  # [3, 3, C, K]
    sums = sum(window @ taps[at] for at, window in _windows(rows, stride))
    return _map(_requantize(_add_bias(sums, bias), multiplier, offset, table))


def int8_dwconv3x3(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    multiplier: Tensor,
    offset: Tensor | None,
    table: Tensor | None,
    stride: int,
    input_zero: int,
) -> Tensor:
    taps = weight.double()[:, 0].permute(1, 2, 0)  # [3, 3, C]
    sums = sum(window * taps[at] for at, window in _windows(_rows(input).double() - input_zero, stride))
    return _map(_requantize(_add_bias(sums, bias), multiplier, offset, table))


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
) -> Tensor:
    def product(rows: Tensor, zero: int, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _add_bias((rows.double() - zero) @ weight.double()[:, :, 0, 0].T, bias)

    sums = product(_rows(input), input_zero, expand_weight, expand_bias)
    expanded = _map(_requantize(sums, expand_multiplier, expand_offset, expand_table))
    depthwise = (depthwise_weight, depthwise_bias, depthwise_multiplier, depthwise_offset, depthwise_table)
    filtered = int8_dwconv3x3(expanded, *depthwise, stride, expanded_zero)
    sums = product(_rows(filtered), depthwise_zero, project_weight, project_bias)
    if residual_multiplier is None:
        return _map(_requantize(sums, project_multiplier, project_offset, None))
    offset = _or_zeros(project_offset, project_multiplier)
    value = _fused_multiply_add(sums.float(), project_multiplier, offset)
    scale = _number(input, residual_multiplier)
    return _map(_to_bytes(_fused_multiply_add(_rows(input).float(), scale, value)))


def int8_attention(
    qkv: Tensor,
    heads: int,
    score_scale: float,
    output_multiplier: float,
    output_zero: int,
    patch_height: int,
    patch_width: int,
) -> Tensor:
    query, key, value = split_heads(qkv.double() - 128, 3, heads, patch_height, patch_width)
    steps = _number(qkv, score_scale) * _number(qkv, _DISTANCE_STEPS)
    weights = _attention_weights(query @ key.transpose(-1, -2), steps).double()
    total = weights.sum(-1, keepdim=True).float()
    multiplier = _number(qkv, output_multiplier) / total
    mixed = _fused_multiply_add((weights @ value).float(), multiplier, _number(qkv, output_zero))
    return merge_heads(_to_bytes(mixed)[None], qkv.shape[1:3], patch_height, patch_width)


def _attention_weights(scores: Tensor, steps: Tensor) -> Tensor:
    """255 * exp(score - largest score) in 8 bits, int64, along the last dimension."""
    distance = (scores.amax(-1, keepdim=True) - scores).float() * steps
    distance = distance.clamp(max=_DISTANCE_LIMIT).round().long()
    fraction = (distance & 2047) << 5
    missing = fraction * (22112 - (fraction * 5780 >> 16)) >> 16
    power = (32767 - missing) >> (distance >> 11)
    return (power * 255 + 16384) >> 15


# ---- from sums to bytes


def _requantize(sums: Tensor, multiplier: Tensor, offset: Tensor | None, table: Tensor | None) -> Tensor:
    codes = _to_bytes(_fused_multiply_add(sums.float(), multiplier, _or_zeros(offset, multiplier)))
    return codes if table is None else table[codes.long()]


def _fused_multiply_add(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """a * b + c of float32, rounded once.

    The product is exact in float64; where that sum is rounded to odd, rounding it again changes nothing.
    """
    product, c = a.double() * b.double(), c.double()
    total = product + c
    # What the float64 sum left out, after Knuth.
    virtual = total - product
    error = (product - (total - virtual)) + (c - virtual)
    is_even = (total.view(torch.int64) & 1) == 0
    neighbour = torch.nextafter(total, torch.copysign(torch.full_like(error, torch.inf), error))
    return torch.where((error != 0) & is_even, neighbour, total).float()


def _to_bytes(value: Tensor) -> Tensor:
    return value.nan_to_num(nan=_LARGEST_BYTE).clamp(0, _LARGEST_BYTE).round().to(torch.uint8)


def _quantize(values: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    return _to_bytes(_fused_multiply_add(values, scale.reciprocal(), zero))


def _range_of_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point [..., 1] of each row's own range, which includes 0."""
    low = (-values).amax(-1, keepdim=True).clamp(min=0)
    # Divided by a tensor: a device multiplies by the inverse of a number.
    scale = (values.amax(-1, keepdim=True).clamp(min=0) + low) / _number(values, _LARGEST_BYTE)
    has_inverse = scale >= _LEAST_NORMAL
    zero = (low / scale).round().clamp(0, _LARGEST_BYTE)
    return torch.where(has_inverse, scale, 1.0), torch.where(has_inverse, zero, 0.0)


def _number(like: Tensor, value: float) -> Tensor:
    """A float32 scalar beside `like`."""
    return torch.full((), value, dtype=torch.float32, device=like.device)


def _add_bias(sums: Tensor, bias: Tensor | None) -> Tensor:
    return sums if bias is None else sums + bias


def _or_zeros(offset: Tensor | None, multiplier: Tensor) -> Tensor:
    return torch.zeros_like(multiplier) if offset is None else offset


# ---- maps


def _rows(map: Tensor) -> Tensor:
    """[N, C, H, W] as [N, H, W, C]."""
    return map.permute(0, 2, 3, 1)


def _map(rows: Tensor) -> Tensor:
    """[N, H, W, C] as [N, C, H, W] in channels_last memory."""
    return rows.contiguous().permute(0, 3, 1, 2)


def _windows(rows: Tensor, stride: int) -> list[tuple[tuple[int, int], Tensor]]:
    """The nine taps of a 3x3 window and what each sees of [N, H, W, C], zeros around it."""
    height, width = rows.shape[1:3]
    padded = functional.pad(rows, (0, 0, 1, 1, 1, 1))
    return [
        ((y, x), padded[:, y : y + height : stride, x : x + width : stride])
        for y in range(3)
        for x in range(3)
    ]

"""The operations in torch's own operators: the formulas that the schemas promise.

They compute what no kernel covers (`native` takes float32 on the CPU, `cuda_native` some of float16 and
bfloat16 on CUDA devices) and what gradients recompute. Maps are [N, C, H, W] in channels_last memory, as
everywhere in this package.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def dwconv3x3(input: Tensor, weight: Tensor, bias: Tensor | None, stride: int, silu: bool) -> Tensor:
    return _convolution(input, weight, bias, stride, silu, groups=weight.shape[0])


def conv3x3(input: Tensor, weight: Tensor, bias: Tensor | None, stride: int, silu: bool) -> Tensor:
    return _convolution(input, weight, bias, stride, silu)


def _convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: int, silu: bool, groups: int = 1
) -> Tensor:
    output = functional.conv2d(input, weight, bias, stride, padding=weight.shape[-1] // 2, groups=groups)
    return channels_last(functional.silu(output) if silu else output)


def inverted_residual(
    input: Tensor,
    expand_weight: Tensor,
    expand_bias: Tensor,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor,
    project_weight: Tensor,
    project_bias: Tensor,
    stride: int,
    residual: bool,
) -> Tensor:
    expanded = _convolution(input, expand_weight, expand_bias, 1, silu=True)
    filtered = dwconv3x3(expanded, depthwise_weight, depthwise_bias, stride, silu=True)
    output = _convolution(filtered, project_weight, project_bias, 1, silu=False)
    return output + input if residual else output


def linear(input: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, silu: bool) -> Tensor:
    output = functional.linear(input, weight, bias)
    if silu:
        output = functional.silu(output)
    return output.contiguous() if residual is None else (output + residual).contiguous()


def attention(qkv: Tensor, heads: int, patch_height: int, patch_width: int) -> Tensor:
    query, key, value = split_heads(qkv, 3, heads, patch_height, patch_width)
    mixed = functional.scaled_dot_product_attention(query, key, value)
    return merge_heads(mixed[None], qkv.shape[1:3], patch_height, patch_width)


def attention_backward(
    qkv: Tensor, upstream: Tensor, heads: int, patch_height: int, patch_width: int
) -> Tensor:
    query, key, value = split_heads(qkv, 3, heads, patch_height, patch_width)
    (upstream,) = split_heads(upstream, 1, heads, patch_height, patch_width)
    scale = 1 / math.sqrt(query.shape[-1])
    weights = ((query * scale) @ key.transpose(-1, -2)).softmax(-1)
    weight_grads = upstream @ value.transpose(-1, -2)
    score_grads = torch.ops.aten._softmax_backward_data(weight_grads, weights, -1, weights.dtype) * scale
    transposed = score_grads.transpose(-1, -2)
    grads = torch.stack((score_grads @ key, transposed @ query, weights.transpose(-1, -2) @ upstream))
    return merge_heads(grads, qkv.shape[1:3], patch_height, patch_width)


def weight_gradient(input: Tensor, upstream: Tensor) -> Tensor:
    return upstream.reshape(-1, upstream.shape[-1]).T @ input.reshape(-1, input.shape[-1])


def conv3x3_weight_gradient(input: Tensor, upstream: Tensor, stride: int) -> Tensor:
    shape = (upstream.shape[1], input.shape[1], 3, 3)
    return torch.nn.grad.conv2d_weight(input, shape, upstream, stride, padding=1).contiguous()


def layer_norm(input: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    return functional.layer_norm(input, input.shape[-1:], weight, bias, epsilon).contiguous()


def layer_norm_backward(
    upstream: Tensor, input: Tensor, weight: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    variance, mean = torch.var_mean(input, -1, correction=0, keepdim=True)
    precision = torch.rsqrt(variance + epsilon)
    normalized = (input - mean) * precision
    gradient = upstream * weight
    along = (gradient * normalized).mean(-1, keepdim=True)
    rows = tuple(range(input.ndim - 1))
    return (
        ((gradient - gradient.mean(-1, keepdim=True) - normalized * along) * precision).contiguous(),
        (upstream * normalized).sum(rows) if rows else upstream * normalized,
        upstream.sum(rows) if rows else upstream.clone(),
    )


_PIXELS = (0, 2, 3)
"""Dimensions of a map [N, C, H, W] that batch norm takes its statistics over."""


def batch_norm(
    input: Tensor, weight: Tensor, bias: Tensor, epsilon: float, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    variance, mean = torch.var_mean(input, _PIXELS, correction=0)
    scale = weight * torch.rsqrt(variance + epsilon)
    output = _per_channel(scale) * (input - _per_channel(mean)) + _per_channel(bias)
    output = functional.silu(output) if silu else output
    return channels_last(output), mean.detach(), variance.detach()


def batch_norm_backward(
    upstream: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
    silu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    # The statistics are taken again, so that second derivatives see how they depend on the input.
    variance, mean = torch.var_mean(input, _PIXELS, correction=0)
    precision = torch.rsqrt(variance + epsilon)
    normalized = (input - _per_channel(mean)) * _per_channel(precision)
    if silu:
        before = normalized * _per_channel(weight) + _per_channel(bias)
        sigmoid = torch.sigmoid(before)
        upstream = upstream * sigmoid * (1 + before * (1 - sigmoid))
    weight_gradient, bias_gradient = (upstream * normalized).sum(_PIXELS), upstream.sum(_PIXELS)
    count = input.numel() // input.shape[1]
    rest = (normalized * _per_channel(weight_gradient) + _per_channel(bias_gradient)) / count
    gradient = (upstream - rest) * _per_channel(weight * precision)
    return channels_last(gradient), weight_gradient, bias_gradient


def _per_channel(values: Tensor) -> Tensor:
    return values[:, None, None]


def channels_last(maps: Tensor) -> Tensor:
    """Maps [N, C, H, W] in channels_last memory; torch.vmap has no rule for asking `contiguous` for that."""
    return maps.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def split_heads(maps: Tensor, parts: int, heads: int, patch_height: int, patch_width: int) -> Tensor:
    """Map [N, H, W, parts * dim] to [parts, N * patch_height * patch_width, heads, patches, dim / heads]."""
    batch, height, width, channels = maps.shape
    rows, columns = height // patch_height, width // patch_width
    head_dim = channels // (parts * heads)
    split = maps.reshape(batch, rows, patch_height, columns, patch_width, parts, heads, head_dim)
    sequences = batch * patch_height * patch_width
    return split.permute(5, 0, 2, 4, 6, 1, 3, 7).reshape(parts, sequences, heads, rows * columns, head_dim)


def merge_heads(tokens: Tensor, size: torch.Size, patch_height: int, patch_width: int) -> Tensor:
    """Inverse of `split_heads`: tokens back to a map [N, *size, parts * dim]."""
    parts, sequences, heads, _, head_dim = tokens.shape
    height, width = size
    rows, columns = height // patch_height, width // patch_width
    batch = sequences // (patch_height * patch_width)
    split = tokens.reshape(parts, batch, patch_height, patch_width, heads, rows, columns, head_dim)
    maps = split.permute(1, 5, 2, 6, 3, 0, 4, 7)
    return maps.reshape(batch, height, width, parts * heads * head_dim).contiguous()

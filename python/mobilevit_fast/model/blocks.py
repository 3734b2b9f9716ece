"""MobileViT's computations on the package's operations, over whatever modules hold the parameters.

This project's model, transformers' and timm's name their modules differently and compute the same: each hands
its modules to these functions. A module is computed inside an operation only where nobody could tell the
difference: a plain torch layer without hooks. Anything else, such as a LoRA layer, is called.

Maps are [N, C, H, W] in channels_last memory. The transformer works on the same memory seen as [N, H, W,
dim], without unfolding: all but attention treats each pixel alone, and attention finds its tokens by strides.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks

from mobilevit_fast import ops

ConvNorm = tuple[nn.Module, nn.Module | None]
"""A convolution and the BatchNorm after it."""


def is_plain(module: nn.Module, *types: type[nn.Module]) -> bool:
    """Whether `module` is exactly one of `types` and nobody hooks into its calls or has replaced them."""
    return type(module) in types and not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
        or _global_forward_hooks
        or _global_forward_pre_hooks
    )


def dropout_probability(dropout: nn.Dropout) -> float:
    """What a dropout layer does now: its probability in training, 0 otherwise."""
    return dropout.p if dropout.training else 0.0


# ---- convolutions


def can_fold(layer: ConvNorm, norm_type: type[nn.BatchNorm2d] = nn.BatchNorm2d) -> bool:
    """Whether the layer is one affine map: no BatchNorm, or one that uses its running statistics."""
    conv, norm = layer
    if not is_plain(conv, nn.Conv2d) or conv.padding_mode != "zeros":
        return False
    if norm is None:
        return True
    return is_plain(norm, norm_type) and not norm.training and norm.affine and norm.running_mean is not None


def fold(layer: ConvNorm) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of the convolution with the BatchNorm's scale and shift in them; differentiable."""
    conv, norm = layer
    if norm is None:
        return conv.weight, conv.bias
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    mean = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    return conv.weight * scale[:, None, None, None], norm.bias - mean * scale


def folded_convolution(x: Tensor, layer: ConvNorm, *, silu: bool) -> Tensor:
    """A layer that `can_fold`, then SiLU where asked for. [N, C, H, W] -> [N, K, H', W']."""
    conv = layer[0]
    weight, bias = fold(layer)
    if _is_same(conv, 1, conv.stride) and conv.stride == (1, 1) and conv.groups == 1:
        return to_map(ops.linear(to_tokens(x), weight.flatten(1), bias, silu=silu))
    if _is_same(conv, 3, conv.stride) and conv.stride in ((1, 1), (2, 2)):
        if conv.groups == 1:
            return ops.conv3x3(x, weight, bias, stride=conv.stride[0], silu=silu)
        if conv.groups == conv.in_channels == conv.out_channels:
            return ops.dwconv3x3(x, weight, bias, stride=conv.stride[0], silu=silu)
    y = functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    return functional.silu(y) if silu else y


def can_train(x: Tensor, layer: ConvNorm, norm_type: type[nn.BatchNorm2d] = nn.BatchNorm2d) -> bool:
    """Whether the layer is a convolution and a BatchNorm that uses the batch's own statistics, and kernels
    take maps like `x`.
    """
    return _has_kernels(x) and _uses_batch_statistics(layer, norm_type)


def _uses_batch_statistics(layer: ConvNorm, norm_type: type[nn.BatchNorm2d]) -> bool:
    conv, norm = layer
    return (
        is_plain(conv, nn.Conv2d)
        and is_plain(norm, norm_type)
        and norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
    )


def trained_convolution(x: Tensor, layer: ConvNorm, *, silu: bool) -> Tensor:
    """A layer that `can_train`, then SiLU where asked for; the running statistics move on."""
    conv, norm = layer
    y = _convolution(x, conv)
    y, mean, variance = ops.batch_norm(y, norm.weight, norm.bias, epsilon=norm.eps, silu=silu)
    _count_batch(norm, mean, variance, y.numel() // y.shape[1])
    return y


def _count_batch(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, values: int) -> None:
    """Move the running statistics on by a batch of `values` values per channel."""
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        unbiased = variance * (values / (values - 1))
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)


def _convolution(x: Tensor, conv: nn.Conv2d) -> Tensor:
    if conv.groups != 1 or conv.padding_mode != "zeros":
        return conv(x)
    if _is_same(conv, 1, (1, 1)):
        return to_map(ops.linear(to_tokens(x), conv.weight.flatten(1), conv.bias))
    if _is_same(conv, 3, conv.stride) and conv.stride in ((1, 1), (2, 2)):
        return ops.conv3x3(x, conv.weight, conv.bias, stride=conv.stride[0])
    return conv(x)


def _has_kernels(x: Tensor) -> bool:
    """Whether this package's operations are faster than torch's on tensors like this one."""
    return x.dtype == torch.float32 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def _is_cast_for_kernels(x: Tensor) -> bool:
    """Whether autocast makes `x` float32 for operations that have no kernels but in that."""
    return x.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def conv_norm(x: Tensor, layer: ConvNorm, *, silu: bool) -> Tensor:
    """Convolution, BatchNorm and SiLU where asked for, in the fewest operations."""
    if can_fold(layer):
        return folded_convolution(x, layer, silu=silu)
    if can_train(x, layer):
        return trained_convolution(x, layer, silu=silu)
    conv, norm = layer
    y = conv(x)
    if norm is not None:
        y = norm(y)
    return functional.silu(y) if silu else y


def can_fuse_inverted_residual(layers: Sequence[ConvNorm]) -> bool:
    """Whether three layers that `can_fold` are a 1x1, a depthwise 3x3 and a 1x1 convolution."""
    expand, depthwise, project = (conv for conv, _ in layers)
    return (
        _is_same(expand, 1, (1, 1))
        and _is_same(depthwise, 3, depthwise.stride)
        and depthwise.stride in ((1, 1), (2, 2))
        and _is_same(project, 1, (1, 1))
        and expand.groups == project.groups == 1
        and depthwise.groups == depthwise.in_channels == depthwise.out_channels
    )


def inverted_residual(x: Tensor, layers: Sequence[ConvNorm], *, residual: bool) -> Tensor:
    """Expansion, depthwise and projection that `can_fuse_inverted_residual`, each folded, in one
    operation.
    """
    expand, depthwise, project = (fold(layer) for layer in layers)
    stride = layers[1][0].stride[0]
    return ops.inverted_residual(x, expand, depthwise, project, stride=stride, residual=residual)


def can_train_inverted_residual(
    x: Tensor, layers: Sequence[ConvNorm], norm_type: type[nn.BatchNorm2d] = nn.BatchNorm2d
) -> bool:
    """Whether three layers that `can_train` fuse, and kernels take maps like `x`."""
    return (
        (_has_kernels(x) or _is_cast_for_kernels(x))
        and all(_uses_batch_statistics(layer, norm_type) for layer in layers)
        and all(conv.bias is None and conv.padding_mode == "zeros" for conv, _ in layers)
        and len({norm.eps for _, norm in layers}) == 1
        and can_fuse_inverted_residual(layers)
    )


def trained_inverted_residual(x: Tensor, layers: Sequence[ConvNorm], *, residual: bool) -> Tensor:
    """Layers that `can_train_inverted_residual` in one operation; their running statistics move on."""
    (_, first), (depthwise, _), _ = layers
    output, statistics = ops.trained_inverted_residual(
        x,
        *((conv.weight, norm.weight, norm.bias) for conv, norm in layers),
        epsilon=first.eps,
        stride=depthwise.stride[0],
        residual=residual,
    )
    maps = (x, output, output)
    for (_, norm), (mean, variance), like in zip(layers, statistics, maps, strict=True):
        _count_batch(norm, mean, variance, like.numel() // like.shape[1])
    return output


def _is_same(conv: nn.Conv2d, size: int, stride: tuple[int, ...]) -> bool:
    half = size // 2
    expected = ((size, size), stride, (half, half), (1, 1))
    return (conv.kernel_size, conv.stride, conv.padding, conv.dilation) == expected


# ---- the transformer, on [N, H, W, dim]


def to_tokens(x: Tensor) -> Tensor:
    """[N, C, H, W] seen as [N, H, W, C]."""
    return x.permute(0, 2, 3, 1)


def to_map(tokens: Tensor) -> Tensor:
    """[N, H, W, C] seen as [N, C, H, W]."""
    return tokens.permute(0, 3, 1, 2)


def resize_to_patch(x: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """A map [N, C, H, W], enlarged bilinearly to the next multiples of the patch where it divides them
    not.
    """
    height, width = (-(-size // patch) * patch for size, patch in zip(x.shape[2:], patch_size, strict=True))
    return resize(x, (height, width))


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map [N, C, H, W] resized bilinearly to `size`; itself where it surely has that size."""
    if all(map(_surely_equal, x.shape[2:], size)):
        return x
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _surely_equal(size: int, other: int) -> bool:
    # Of a size that torch.export leaves open nothing may be assumed: a resize to the same size changes
    # nothing.
    if isinstance(size, torch.SymInt) or isinstance(other, torch.SymInt):
        from torch.fx.experimental.symbolic_shapes import statically_known_true

        return statically_known_true(size == other)
    return size == other


def layer_norm(tokens: Tensor, norm: nn.Module) -> Tensor:
    """A LayerNorm over the last dimension of [N, H, W, dim]; in training on this package's operation."""
    is_plain_norm = (
        is_plain(norm, nn.LayerNorm)
        and norm.training
        and norm.weight is not None
        and norm.bias is not None
        and norm.normalized_shape == tokens.shape[-1:]
    )
    if not (is_plain_norm and _has_kernels(tokens)):
        return norm(tokens)
    return ops.layer_norm(tokens, norm.weight, norm.bias, epsilon=norm.eps)


def attend(
    tokens: Tensor,
    residual: Tensor,
    query_key_value: Sequence[nn.Module],
    projection: nn.Module,
    heads: int,
    patch_size: tuple[int, int],
    dropout: float = 0.0,
) -> Tensor:
    """residual + projection(attention(tokens)), over [N, H, W, dim].

    Args:
        query_key_value: one linear layer for all three, or one each.
        dropout: probability of zeroing an element before it is added.
    """
    qkv = _query_key_value(tokens, query_key_value)
    mixed = ops.attention(qkv, heads, patch_size=patch_size)
    return _add_linear(mixed, projection, residual, dropout)


def feed_forward(
    tokens: Tensor, residual: Tensor, up: nn.Module, down: nn.Module, dropout: float = 0.0
) -> Tensor:
    """residual + down(silu(up(tokens))), over [N, H, W, dim]; dropout as in `attend`."""
    return _add_linear(_linear(tokens, up, silu=True), down, residual, dropout)


def _query_key_value(tokens: Tensor, layers: Sequence[nn.Module]) -> Tensor:
    if len(layers) == 1:
        return _linear(tokens, layers[0])
    if not all(is_plain(layer, nn.Linear) for layer in layers):
        return torch.cat([layer(tokens) for layer in layers], dim=-1)
    weight = torch.cat([layer.weight for layer in layers])
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    return ops.linear(tokens, weight, bias)


def _add_linear(x: Tensor, layer: nn.Module, residual: Tensor, dropout: float) -> Tensor:
    if dropout:
        return residual + functional.dropout(_linear(x, layer), dropout)
    return _linear(x, layer, residual=residual)


def _linear(x: Tensor, layer: nn.Module, *, residual: Tensor | None = None, silu: bool = False) -> Tensor:
    if is_plain(layer, nn.Linear):
        return ops.linear(x, layer.weight, layer.bias, residual=residual, silu=silu)
    y = layer(x)
    if silu:
        y = functional.silu(y)
    return y if residual is None else y + residual

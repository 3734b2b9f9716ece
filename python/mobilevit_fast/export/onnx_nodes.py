"""This package's operations as ONNX nodes of domain `mobilevit_fast`.

Maps are channels last in every node, [N, H, W, C], as our kernels have them: between two nodes the
permutations around each cancel. An activation or a residual is part of a node's name, for `onnx_functions`
defines each name by a function, and an ONNX function cannot leave out a step by an attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mobilevit_fast.model.blocks import to_map, to_tokens
from mobilevit_fast.ops.library import NAMESPACE

DOMAIN = NAMESPACE
VERSION = 1

IMAGE_CHANNELS = 3


def _node(
    name: str, inputs: Sequence[Tensor], shape: Sequence[int | torch.SymInt], **attributes: Any
) -> Tensor:
    """A node that answers a tensor of that shape and of its first input's type."""
    return torch.onnx.ops.symbolic(
        f"{DOMAIN}::{name}", inputs, attributes, dtype=inputs[0].dtype, shape=shape, version=VERSION
    )


def _bias(weight: Tensor, bias: Tensor | None) -> Tensor:
    return weight.new_zeros(weight.shape[0]) if bias is None else bias


def _convolved(
    batch: int, height: int, width: int, stride: int, channels: int
) -> tuple[int | torch.SymInt, ...]:
    """What a 3x3 convolution makes of maps of that size, channels last."""
    return batch, (height - 1) // stride + 1, (width - 1) // stride + 1, channels


def _map_node(name: str, inputs: Sequence[Tensor], channels: int, stride: int, **attributes: Any) -> Tensor:
    """A node from a map [N, C, H, W], first among its inputs, to a map of 3x3 convolution's size."""
    x = to_tokens(inputs[0])
    batch, height, width = x.shape[:3]
    shape = _convolved(batch, height, width, stride, channels)
    return to_map(_node(name, (x, *inputs[1:]), shape, strides=[stride, stride], **attributes))


def conv3x3(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, silu: bool = False
) -> Tensor:
    inputs = (input, weight, _bias(weight, bias))
    if silu and input.shape[1] == IMAGE_CHANNELS:
        # Images come with their planes one after another, and are read as they are.
        batch, _, height, width = input.shape
        shape = _convolved(batch, height, width, stride, weight.shape[0])
        return to_map(_node("PlanarConv3x3Silu", inputs, shape, strides=[stride, stride]))
    return _map_node("Conv3x3Silu" if silu else "Conv3x3", inputs, weight.shape[0], stride)


def dwconv3x3(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, silu: bool = False
) -> Tensor:
    name, channels = "DwConv3x3Silu" if silu else "DwConv3x3", weight.shape[0]
    return _map_node(name, (input, weight, _bias(weight, bias)), channels, stride, group=channels)


def inverted_residual(
    input: Tensor,
    expand_weight: Tensor,
    expand_bias: Tensor,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor,
    project_weight: Tensor,
    project_bias: Tensor,
    stride: int = 1,
    residual: bool = False,
) -> Tensor:
    layers = (expand_weight, expand_bias, depthwise_weight, depthwise_bias, project_weight, project_bias)
    return _map_node(
        "InvertedResidualAdd" if residual else "InvertedResidual",
        (input, *layers),
        project_weight.shape[0],
        stride,
        group=depthwise_weight.shape[0],
    )


def linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    silu: bool = False,
) -> Tensor:
    name = f"Linear{'Silu' if silu else ''}{'' if residual is None else 'Add'}"
    inputs = [input, weight, _bias(weight, bias)]
    if residual is not None:
        inputs.append(residual)
    return _node(name, inputs, (*input.shape[:-1], weight.shape[0]))


def attention(qkv: Tensor, heads: int, patch_height: int = 2, patch_width: int = 2) -> Tensor:
    dim = qkv.shape[-1] // 3
    patch = [patch_height, patch_width]
    return _node("Attention", [qkv], (*qkv.shape[:-1], dim), heads=heads, patch=patch)


NODES: Mapping[str, Callable[..., Tensor]] = {
    "dwconv3x3": dwconv3x3,
    "conv3x3": conv3x3,
    "inverted_residual": inverted_residual,
    "linear": linear,
    "attention": attention,
}
"""Operation -> what puts its node in its place."""

"""What becomes of `torch.ops.mobilevit_fast.*` in each format: the one table of operation x format.

A model is traced with this package's operations as nodes. Each node is then replaced by its lowering: plain
torch operators that the format's converter turns into the standard operators of its runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.export import onnx_nodes
from mobilevit_fast.ops import INT8_NAMES, NAMES
from mobilevit_fast.ops.library import NAMESPACE

Lowering = Callable[..., Tensor]
"""Takes what the operation takes."""

QUANTIZE_DEQUANTIZE = "float operation between quantize and dequantize nodes"
"""What stands for the operations on bytes: runtimes fuse such a group into their own integer kernel."""


class PatchSplit:
    """Sorts pixels by their position in the patch, with one transposition of rank 6."""

    def to_patches(self, x: Tensor, rows: int, columns: int, patch: int) -> Tensor:
        """[N, rows * patch, columns * patch, C] to [N * patch * patch, rows, columns, C]."""
        batch, channels = x.shape[0], x.shape[3]
        parts = x.reshape(batch, rows, patch, columns, patch, channels).permute(0, 2, 4, 1, 3, 5)
        return parts.reshape(batch * patch * patch, rows, columns, channels)

    def to_pixels(self, x: Tensor, batch: int, rows: int, columns: int, patch: int) -> Tensor:
        """The way back."""
        channels = x.shape[3]
        parts = x.reshape(batch, patch, patch, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
        return parts.reshape(batch, rows * patch, columns * patch, channels)


class LowRankPatchSplit(PatchSplit):
    """The same in two transpositions of tensors of rank 4, which every runtime has."""

    def to_patches(self, x: Tensor, rows: int, columns: int, patch: int) -> Tensor:
        batch, channels = x.shape[0], x.shape[3]
        parts = x.reshape(batch, rows, patch, columns * patch * channels).transpose(1, 2)
        parts = parts.reshape(batch * patch, rows * columns, patch, channels).transpose(1, 2)
        return parts.reshape(batch * patch * patch, rows, columns, channels)

    def to_pixels(self, x: Tensor, batch: int, rows: int, columns: int, patch: int) -> Tensor:
        channels = x.shape[3]
        parts = x.reshape(batch * patch, patch, rows * columns, channels).transpose(1, 2)
        parts = parts.reshape(batch, patch, rows, columns * patch * channels).transpose(1, 2)
        return parts.reshape(batch, rows * patch, columns * patch, channels)


# ---- lowerings to torch's own operators


def convolution3x3(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, silu: bool = False
) -> Tensor:
    """`conv3x3` and `dwconv3x3`: the weight tells them apart."""
    groups = input.shape[1] // weight.shape[1]
    return _activate(functional.conv2d(input, weight, bias, stride, padding=1, groups=groups), silu)


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
    hidden = functional.silu(functional.conv2d(input, expand_weight, expand_bias))
    hidden = convolution3x3(hidden, depthwise_weight, depthwise_bias, stride, silu=True)
    output = functional.conv2d(hidden, project_weight, project_bias)
    return output + input if residual else output


def linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    silu: bool = False,
) -> Tensor:
    output = _activate(functional.linear(input, weight, bias), silu)
    return output if residual is None else output + residual


def attention(qkv: Tensor, heads: int, patch_height: int = 2, patch_width: int = 2) -> Tensor:
    """Raises ValueError for patches: networks are traced with pixels already sorted."""
    return mix(*_sorted_parts(qkv, heads, patch_height, patch_width), heads)


def whole_attention(qkv: Tensor, heads: int, patch_height: int = 2, patch_width: int = 2) -> Tensor:
    """The same by `mix_whole`."""
    return mix_whole(*_sorted_parts(qkv, heads, patch_height, patch_width), heads)


def _sorted_parts(qkv: Tensor, heads: int, patch_height: int, patch_width: int) -> tuple[Tensor, ...]:
    """Scaled query, key and value."""
    if (patch_height, patch_width) != (1, 1):
        raise ValueError(f"attention is exported over sorted pixels, got patch {patch_height}x{patch_width}")
    query, key, value = qkv.chunk(3, dim=-1)
    return query * score_scale(query, heads), key, value


def score_scale(query: Tensor, heads: int) -> float:
    """1 / sqrt(head dim), for a query [N, H, W, dim]."""
    return 1 / math.sqrt(query.shape[-1] // heads)


def mix(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """softmax(q k^T) v over all pixels, head by head; all [N, H, W, dim], q already scaled."""
    queries, keys, values = (_split_heads(x, heads) for x in (query, key, value))
    weights = torch.softmax(queries @ keys.transpose(2, 3), dim=-1)
    return _join_heads(weights @ values, query)


def mix_whole(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """`mix` as torch's one operator, for runtimes with a kernel that keeps the scores in the caches."""
    split = (_split_heads(x, heads) for x in (query, key, value))
    return _join_heads(functional.scaled_dot_product_attention(*split, scale=1.0), query)


def _split_heads(x: Tensor, heads: int) -> Tensor:
    """[N, H, W, dim] as [N, heads, H * W, head dim]."""
    batch, rows, columns, channels = x.shape
    return x.reshape(batch, rows * columns, heads, channels // heads).transpose(1, 2)


def _join_heads(mixed: Tensor, like: Tensor) -> Tensor:
    """[N, heads, H * W, head dim] in the shape of `like`, [N, H, W, dim]."""
    return mixed.transpose(1, 2).reshape(like.shape)


def _activate(x: Tensor, silu: bool) -> Tensor:
    return functional.silu(x) if silu else x


STANDARD: Mapping[str, Lowering | str] = {
    "dwconv3x3": convolution3x3,
    "conv3x3": convolution3x3,
    "inverted_residual": inverted_residual,
    "linear": linear,
    "attention": attention,
    **dict.fromkeys(INT8_NAMES, QUANTIZE_DEQUANTIZE),
}
"""Lowerings to what every converter knows."""

WHOLE_ATTENTION: Mapping[str, Lowering | str] = {**STANDARD, "attention": whole_attention}
"""The same where attention as one operator is known and faster."""

LOWERINGS: Mapping[str, Mapping[str, Lowering | str]] = {
    "onnx": STANDARD,
    "coreml": STANDARD,
    "openvino": WHOLE_ATTENTION,
    "litert": STANDARD,
    "ncnn": STANDARD,
    "executorch": STANDARD,
    "tensorflow": STANDARD,
    "torch": WHOLE_ATTENTION,
    "triton": STANDARD,
    "web": STANDARD,
}
"""Format -> name of an operation -> its lowering."""

NODES: Mapping[str, Mapping[str, Lowering]] = {"onnx": onnx_nodes.NODES}
"""Format that holds this package's operations as nodes of its own -> name of an operation on floats -> its
node. Those on bytes stand in no trace: `onnx_int8` makes their nodes from the plan of a session."""

SPLITS: Mapping[str, PatchSplit] = {
    "onnx": PatchSplit(),
    "coreml": LowRankPatchSplit(),
    "openvino": LowRankPatchSplit(),
    "litert": LowRankPatchSplit(),
    "ncnn": LowRankPatchSplit(),
    "executorch": LowRankPatchSplit(),
    "tensorflow": LowRankPatchSplit(),
    "torch": PatchSplit(),
    "triton": PatchSplit(),
    "web": LowRankPatchSplit(),
}
"""Format -> how maps are sorted into patches."""


def lower(graph: torch.fx.GraphModule, lowerings: Mapping[str, Lowering | str]) -> torch.fx.GraphModule:
    """Replaces, in place, every node of one of our float operations by a call of its lowering."""
    targets = {getattr(getattr(torch.ops, NAMESPACE), name).default: lowerings[name] for name in NAMES}
    for node in graph.graph.nodes:
        node.target = targets.get(node.target, node.target)
    graph.recompile()
    return graph

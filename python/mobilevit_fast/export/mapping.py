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

from mobilevit_fast.config import ModelConfig
from mobilevit_fast.export import onnx_nodes
from mobilevit_fast.export.options import SIZE_STEP
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

    def attention_patch(self, patch: int) -> tuple[int, int]:
        """Height and width of the patches that sorted pixels form: pixels of equal position attend to each
        other.
        """
        return 1, 1


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


class ColumnPatchSplit(PatchSplit):
    """Patch by patch, [N, rows * columns, patch * patch, C]: runtimes may take the first axis for a batch."""

    def to_patches(self, x: Tensor, rows: int, columns: int, patch: int) -> Tensor:
        batch, channels = x.shape[0], x.shape[3]
        parts = x.reshape(batch, rows, patch, columns, patch * channels).transpose(2, 3)
        return parts.reshape(batch, rows * columns, patch * patch, channels)

    def to_pixels(self, x: Tensor, batch: int, rows: int, columns: int, patch: int) -> Tensor:
        channels = x.shape[3]
        parts = x.reshape(batch, rows, columns, patch, patch * channels).transpose(2, 3)
        return parts.reshape(batch, rows * patch, columns * patch, channels)

    def attention_patch(self, patch: int) -> tuple[int, int]:
        return 1, patch * patch


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


def linear_of_rows(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    silu: bool = False,
) -> Tensor:
    """`linear` of a matrix with a row for each pixel, for runtimes that are slow to make one themselves."""
    output = linear(input.reshape(-1, input.shape[-1]), weight, bias, silu=silu)
    output = output.reshape(*input.shape[:-1], weight.shape[0])
    return output if residual is None else output + residual


def attention(qkv: Tensor, heads: int, patch_height: int = 2, patch_width: int = 2) -> Tensor:
    """Raises ValueError unless pixels are sorted and a patch is one pixel, or a row of the sorted map."""
    return mix(*_parts(qkv, heads, patch_height, patch_width), heads, patch_width)


def whole_attention(qkv: Tensor, heads: int, patch_height: int = 2, patch_width: int = 2) -> Tensor:
    """The same by `mix_whole`."""
    return mix_whole(*_parts(qkv, heads, patch_height, patch_width), heads, patch_width)


def _parts(qkv: Tensor, heads: int, patch_height: int, patch_width: int) -> tuple[Tensor, ...]:
    """Scaled query, key and value."""
    if patch_height != 1 or patch_width not in (1, qkv.shape[2]):
        raise ValueError(f"attention is exported over sorted pixels, got patch {patch_height}x{patch_width}")
    query, key, value = qkv.chunk(3, dim=-1)
    return query * score_scale(query, heads), key, value


def score_scale(query: Tensor, heads: int) -> float:
    """1 / sqrt(head dim), for a query [N, H, W, dim]."""
    return 1 / math.sqrt(query.shape[-1] // heads)


def mix(query: Tensor, key: Tensor, value: Tensor, heads: int, positions: int = 1) -> Tensor:
    """softmax(q k^T) v over the pixels of each of `positions` in a patch, head by head.

    Args:
        query, key, value: [N, H, W, dim], pixels or, where there are several positions, patches [N, patches,
            positions, dim]; the query is scaled already.
    """
    queries, keys, values = (_split_heads(x, heads, positions) for x in (query, key, value))
    weights = torch.softmax(queries @ keys.transpose(2, 3), dim=-1)
    return _join_heads(weights @ values, query)


def mix_whole(query: Tensor, key: Tensor, value: Tensor, heads: int, positions: int = 1) -> Tensor:
    """`mix` as torch's one operator, for runtimes with a kernel that keeps the scores in the caches."""
    split = (_split_heads(x, heads, positions) for x in (query, key, value))
    return _join_heads(functional.scaled_dot_product_attention(*split, scale=1.0), query)


def _split_heads(x: Tensor, heads: int, positions: int) -> Tensor:
    """[N, H, W, dim] as [N, positions * heads, tokens, head dim]: another position is but more heads."""
    batch, rows, columns, channels = x.shape
    tokens = rows if positions > 1 else rows * columns
    return x.reshape(batch, tokens, positions * heads, channels // heads).transpose(1, 2)


def _join_heads(mixed: Tensor, like: Tensor) -> Tensor:
    """What `_split_heads` gives in the shape of `like`, [N, H, W, dim]."""
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

MATRICES: Mapping[str, Lowering | str] = {**STANDARD, "linear": linear_of_rows}
"""The same where matrices are multiplied fastest."""

LOWERINGS: Mapping[str, Mapping[str, Lowering | str]] = {
    "onnx": STANDARD,
    "coreml": STANDARD,
    "openvino": WHOLE_ATTENTION,
    "litert": STANDARD,
    "ncnn": MATRICES,
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
    "openvino": ColumnPatchSplit(),
    "litert": LowRankPatchSplit(),
    "ncnn": ColumnPatchSplit(),
    "executorch": LowRankPatchSplit(),
    "tensorflow": LowRankPatchSplit(),
    "torch": PatchSplit(),
    "triton": PatchSplit(),
    "web": LowRankPatchSplit(),
}
"""Format -> how maps are sorted into patches; for small images see `split_for`."""


def split_for(format_name: str, config: ModelConfig, size: tuple[int, int]) -> PatchSplit:
    """How maps are sorted into patches for images of that size."""
    last_map = [-(-edge // SIZE_STEP) for edge in size]
    has_one_patch = all(edge <= config.patch_size for edge in last_map)
    if format_name == "openvino" and (has_one_patch or config.patch_size == 1):
        # Whole attention over an axis of length 1 behind `ColumnPatchSplit` comes out wrong there.
        return PatchSplit()
    return SPLITS[format_name]


def lower(graph: torch.fx.GraphModule, lowerings: Mapping[str, Lowering | str]) -> torch.fx.GraphModule:
    """Replaces, in place, every node of one of our float operations by a call of its lowering."""
    targets = {getattr(getattr(torch.ops, NAMESPACE), name).default: lowerings[name] for name in NAMES}
    for node in graph.graph.nodes:
        node.target = targets.get(node.target, node.target)
    graph.recompile()
    return graph

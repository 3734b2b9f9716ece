"""The operations on `_C`: float32 CPU tensors in and out, without copies where strides allow.

The arguments are those of the schemas in `library`, already checked, and then the output to fill: a map in
channels_last memory or dense rows. Kernels use as many threads as torch does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mobilevit_fast import _C


def dwconv3x3(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: int, silu: bool, output: Tensor
) -> None:
    taps = as_array(weight[:, 0].permute(1, 2, 0))
    _C.ops.dwconv3x3(
        as_map(input), taps, as_array(bias), stride, silu, out=as_map(output), threads=intra_op_threads()
    )


def conv3x3(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: int, silu: bool, output: Tensor
) -> None:
    taps = as_array(weight.permute(0, 2, 3, 1))
    _C.ops.conv3x3(
        as_map(input), taps, as_array(bias), stride, silu, out=as_map(output), threads=intra_op_threads()
    )


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
    output: Tensor,
) -> None:
    _C.ops.inverted_residual(
        as_map(input),
        *(as_array(expand_weight[:, :, 0, 0]), as_array(expand_bias)),
        *(as_array(depthwise_weight[:, 0].permute(1, 2, 0)), as_array(depthwise_bias)),
        *(as_array(project_weight[:, :, 0, 0]), as_array(project_bias)),
        stride,
        residual,
        out=as_map(output),
        threads=intra_op_threads(),
    )


def linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    silu: bool,
    output: Tensor,
) -> None:
    _C.ops.linear(
        *(as_rows(input), as_array(weight), as_array(bias), None if residual is None else as_rows(residual)),
        silu,
        out=as_rows(output),
        threads=intra_op_threads(),
    )


def attention(qkv: Tensor, heads: int, patch_height: int, patch_width: int, output: Tensor) -> None:
    patch = (patch_height, patch_width)
    _C.ops.attention(as_rows(qkv), heads, patch, out=as_rows(output), threads=intra_op_threads())


def attention_backward(
    qkv: Tensor, upstream: Tensor, heads: int, patch_height: int, patch_width: int, output: Tensor
) -> None:
    patch, threads = (patch_height, patch_width), intra_op_threads()
    _C.ops.attention_backward(
        as_rows(qkv), as_rows(upstream), heads, patch, out=as_rows(output), threads=threads
    )


def weight_gradient(input: Tensor, upstream: Tensor, output: Tensor) -> None:
    rows, upstream_rows = _as_matrix(input), _as_matrix(upstream)
    _C.ops.weight_gradient(rows, upstream_rows, out=as_array(output), threads=intra_op_threads())


def conv3x3_weight_gradient(input: Tensor, upstream: Tensor, stride: int, output: Tensor) -> None:
    gradient = _C.ops.conv3x3_weight_gradient(
        as_map(input), as_map(upstream), stride, threads=intra_op_threads()
    )
    output.copy_(torch.from_numpy(gradient).permute(0, 3, 1, 2))


def layer_norm(input: Tensor, weight: Tensor, bias: Tensor, epsilon: float, output: Tensor) -> None:
    _C.ops.layer_norm(
        *(as_rows(input), as_array(weight), as_array(bias), epsilon),
        out=as_rows(output),
        threads=intra_op_threads(),
    )


def layer_norm_backward(
    upstream: Tensor,
    input: Tensor,
    weight: Tensor,
    epsilon: float,
    outputs: tuple[Tensor, Tensor, Tensor],
) -> None:
    gradient, *parameter_gradients = outputs
    _, *computed = _C.ops.layer_norm_backward(
        *(_as_matrix(input), _as_matrix(upstream), as_array(weight), epsilon),
        out=_as_matrix(gradient),
        threads=intra_op_threads(),
    )
    copy_arrays(computed, parameter_gradients)


def batch_norm(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    epsilon: float,
    silu: bool,
    outputs: tuple[Tensor, Tensor, Tensor],
) -> None:
    output, *moments = outputs
    _, *computed = _C.ops.batch_norm(
        *(as_pixels(input), as_array(weight), as_array(bias), epsilon, silu),
        out=as_pixels(output),
        threads=intra_op_threads(),
    )
    copy_arrays(computed, moments)


def batch_norm_backward(
    upstream: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
    silu: bool,
    outputs: tuple[Tensor, Tensor, Tensor],
) -> None:
    gradient, *channel_gradients = outputs
    _, *computed = _C.ops.batch_norm_backward(
        *(as_pixels(input), as_pixels(upstream), as_array(weight), as_array(bias)),
        *(as_array(mean), as_array(variance), epsilon, silu),
        out=as_pixels(gradient),
        threads=intra_op_threads(),
    )
    copy_arrays(computed, channel_gradients)


def intra_op_threads() -> int:
    """torch's intra-op thread count, as far as the kernels' thread pool goes."""
    return min(torch.get_num_threads(), _C.max_threads)


def as_map(tensor: Tensor) -> np.ndarray:
    """[N, C, H, W] as an array [N, H, W, C] whose channels are neighbours in memory."""
    return as_rows(tensor.permute(0, 2, 3, 1))


def as_rows(tensor: Tensor) -> np.ndarray:
    """[..., C] as an array whose channels are neighbours in memory."""
    if tensor.stride(-1) != 1:
        tensor = tensor.contiguous()
    return as_array(tensor)


def as_array(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().numpy()


def _as_matrix(tensor: Tensor) -> np.ndarray:
    """[..., C] as a matrix [rows, C] whose channels are neighbours in memory; a view where strides allow."""
    return as_rows(tensor.reshape(-1, tensor.shape[-1]))


def as_pixels(tensor: Tensor) -> np.ndarray:
    """A map [N, C, H, W] as a matrix [N * H * W, C]; a view of channels_last memory."""
    return _as_matrix(tensor.permute(0, 2, 3, 1))


def copy_arrays(arrays: Sequence[np.ndarray], tensors: Sequence[Tensor]) -> None:
    for array, tensor in zip(arrays, tensors, strict=True):
        tensor.copy_(torch.from_numpy(array))

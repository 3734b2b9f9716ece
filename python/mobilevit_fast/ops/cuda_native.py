"""The operations on `_C.cuda_ops`: float16 and bfloat16 CUDA tensors, in the order of torch's current stream.

The arguments are those of `native`. Weights may change from call to call, so each call packs them anew, on
the device. What torch's own libraries do as well (a product or a convolution with nothing behind it), and
float32, is left to the formulas in `reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from mobilevit_fast import _C

DTYPES = (torch.float16, torch.bfloat16)
LEAST_CAPABILITY = (8, 0)
"""Compute capability of the oldest devices that the kernels are compiled for."""


@cache
def has_kernels(device: int) -> bool:
    """Whether this build has kernels for the CUDA device of that number."""
    return not _C.why_no_cuda() and torch.cuda.get_device_capability(device) >= LEAST_CAPABILITY


def kernel_for(name: str, arguments: tuple[Any, ...], output: Tensor) -> Callable[..., None] | None:
    """The function here that computes an operation of these arguments, None where none does."""
    device = output.device
    if output.dtype not in DTYPES or device.type != "cuda" or not has_kernels(device.index):
        return None
    fits, kernel = _KERNELS.get(name, (None, None))
    return kernel if fits is not None and fits(*arguments) else None


def conv3x3(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: int, silu: bool, output: Tensor
) -> None:
    _C.cuda_ops.conv3x3(
        *(_map(input), _dense(weight.permute(0, 2, 3, 1)), _dense(bias), stride, silu),
        out=_map(output),
        **_weights_place(input),
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
    _C.cuda_ops.inverted_residual(
        _map(input),
        *(_dense(expand_weight[:, :, 0, 0]), _dense(expand_bias)),
        *(_dense(depthwise_weight[:, 0].permute(1, 2, 0)), _dense(depthwise_bias)),
        *(_dense(project_weight[:, :, 0, 0]), _dense(project_bias)),
        *(stride, residual),
        out=_map(output),
        **_weights_place(input),
    )


def linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    silu: bool,
    output: Tensor,
) -> None:
    _C.cuda_ops.linear(
        *(_matrix(input), _dense(weight), _dense(bias), None if residual is None else _matrix(residual)),
        silu,
        out=_matrix(output),
        **_weights_place(input),
    )


def attention(qkv: Tensor, heads: int, patch_height: int, patch_width: int, output: Tensor) -> None:
    patch = (patch_height, patch_width)
    _C.cuda_ops.attention(_dense(qkv), heads, patch, out=_dense(output), **_place(qkv))


# ---- which calls


def _fits_convolution(input: Tensor, weight: Tensor, bias: Tensor | None, stride: int, silu: bool) -> bool:
    return silu


def _fits_inverted_residual(input: Tensor, expand_weight: Tensor, *others: Any) -> bool:
    return input.shape[1] <= _C.cuda_ops.max_inverted_residual_input and expand_weight.shape[0] > 0


def _fits_linear(
    input: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, silu: bool
) -> bool:
    return (silu or residual is not None) and weight.numel() > 0


def _fits_attention(qkv: Tensor, heads: int, patch_height: int, patch_width: int) -> bool:
    return qkv.shape[3] // (3 * heads) <= _C.cuda_ops.max_head_dim


_KERNELS: dict[str, tuple[Callable[..., bool], Callable[..., None]]] = {
    "conv3x3": (_fits_convolution, conv3x3),
    "inverted_residual": (_fits_inverted_residual, inverted_residual),
    "linear": (_fits_linear, linear),
    "attention": (_fits_attention, attention),
}


# ---- tensors


def _place(tensor: Tensor) -> dict[str, int]:
    stream = torch.cuda.current_stream(tensor.device)
    return {"device": tensor.device.index, "cuda_stream": stream.cuda_stream}


def _weights_place(tensor: Tensor) -> dict[str, Any]:
    def workspace(size: int) -> Tensor:
        return torch.empty(size, dtype=torch.uint8, device=tensor.device)

    return {"workspace": workspace, **_place(tensor)}


def _dense(tensor: Tensor | None) -> Tensor | None:
    if tensor is None:
        return None
    dense = tensor.detach().contiguous()
    # What torch calls bfloat16 in `__cuda_array_interface__` has changed; torch 2.5 and 2.6 say float16.
    return dense.view(torch.int16) if dense.dtype == torch.bfloat16 else dense


def _matrix(tensor: Tensor) -> Tensor:
    """[..., C] as [rows, C]."""
    return _dense(tensor.reshape(-1, tensor.shape[-1]))


def _map(tensor: Tensor) -> Tensor:
    """[N, C, H, W] as [N, H, W, C]; a view of channels_last memory."""
    return _dense(tensor.permute(0, 2, 3, 1))

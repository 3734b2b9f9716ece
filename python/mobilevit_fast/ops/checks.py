"""What the operations refuse: each check names the operation, what it was given and what it expects."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def check_tensors(name: str, tensors: dict[str, Tensor | None]) -> None:
    """All tensors must be floating point, of one dtype and on one device.

    Raises:
        TypeError: dtypes that are not floating point or differ.
        ValueError: devices that differ.
    """
    given = {argument: tensor for argument, tensor in tensors.items() if tensor is not None}
    (first, like), *others = given.items()
    if not like.is_floating_point():
        raise TypeError(f"{name}: {first} must be floating point, got {like.dtype}")
    for argument, tensor in others:
        if tensor.dtype != like.dtype:
            raise TypeError(
                f"{name}: {argument} is {tensor.dtype} and {first} is {like.dtype}; cast one of them"
            )
    check_devices(name, tensors)


def check_devices(name: str, tensors: dict[str, Tensor | None]) -> None:
    """Raises ValueError unless all tensors that are there are on one device."""
    given = {argument: tensor for argument, tensor in tensors.items() if tensor is not None}
    (first, like), *others = given.items()
    for argument, tensor in others:
        if tensor.device != like.device:
            raise ValueError(
                f"{name}: {argument} is on {tensor.device} and {first} on {like.device}; move one"
            )


def check_rank(name: str, argument: str, tensor: Tensor, layout: str) -> None:
    """Raises ValueError unless `tensor` has as many dimensions as `layout`, such as "[M, K]", names."""
    if tensor.ndim != layout.count(",") + 1:
        raise ValueError(f"{name}: {argument} must be {layout}, got {list(tensor.shape)}")


def check_shape(name: str, argument: str, tensor: Tensor | None, expected: tuple[int, ...]) -> None:
    """Raises ValueError where a tensor that is there has another shape than `expected`."""
    if tensor is not None and tuple(tensor.shape) != expected:
        raise ValueError(f"{name}: {argument} must be {list(expected)}, got {list(tensor.shape)}")


def check_map(name: str, argument: str, tensor: Tensor, layout: str) -> None:
    """Raises ValueError where `tensor` has not four dimensions with at least one pixel."""
    axes = [layout.index("H"), layout.index("W")]
    if tensor.ndim != 4 or min(tensor.shape[axis] for axis in axes) < 1:
        wanted = ", ".join(layout)
        raise ValueError(f"{name}: {argument} must be [{wanted}] with H, W >= 1, got {list(tensor.shape)}")


def check_stride(name: str, stride: int) -> None:
    """Raises ValueError unless `stride` is 1 or 2."""
    if stride not in (1, 2):
        raise ValueError(f"{name}: stride must be 1 or 2, got {stride}")


def check_residual(name: str, residual: bool, stride: int, channels: int, out: int) -> None:
    """Raises ValueError where a block cannot add its input to its output."""
    if residual and (stride != 1 or out != channels):
        raise ValueError(
            f"{name}: a residual needs stride 1 and as many channels out as in; "
            f"got stride {stride}, {channels} in, {out} out"
        )


def check_patches(
    name: str, qkv: Tensor, heads: int, patch_height: int, patch_width: int
) -> tuple[int, int, int, int]:
    """The shape that attention makes of [N, H, W, 3 * dim].

    Raises:
        ValueError: another rank, heads that do not divide dim, a patch that does not divide the map.
    """
    check_map(name, "qkv", qkv, "NHWC")
    batch, height, width, channels = qkv.shape
    if heads < 1 or channels < 1 or channels % (3 * heads):
        raise ValueError(
            f"{name}: qkv needs a multiple of 3 * heads channels, got {channels} for {heads} heads"
        )
    if patch_height < 1 or patch_width < 1 or height % patch_height or width % patch_width:
        raise ValueError(
            f"{name}: a patch of {patch_height}x{patch_width} must divide the map of {height}x{width}"
        )
    return batch, height, width, channels // 3


def check_dtypes(name: str, tensors: dict[str, Tensor | None], *expected: torch.dtype) -> None:
    """Raises TypeError where a tensor that is there has none of the `expected` dtypes."""
    for argument, tensor in tensors.items():
        if tensor is not None and tensor.dtype not in expected:
            wanted = " or ".join(map(str, expected))
            raise TypeError(f"{name}: {argument} must be {wanted}, got {tensor.dtype}")


def check_zero_point(name: str, argument: str, zero: int) -> None:
    """Raises ValueError unless `zero` is a byte."""
    if not 0 <= zero <= 255:
        raise ValueError(f"{name}: {argument} must be from 0 to 255, got {zero}")


def check_positive(name: str, argument: str, value: float) -> None:
    """Raises ValueError unless `value` is finite and above 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: {argument} must be above 0 and finite, got {value}")

"""What the operations refuse: each check names the operation, what it was given and what it expects."""

from __future__ import annotations

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

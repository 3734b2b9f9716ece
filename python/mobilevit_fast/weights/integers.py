"""Integers that stand for real numbers: grids of bytes for activations, packed small weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """The bytes of one activation: real = scale * (byte - zero_point).

    `scale` is a float32 number, `zero_point` 0 to 255. Raises ValueError for any other.
    """

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        scale = float(np.float32(self.scale))
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"a scale must be a positive float32 number, got {self.scale!r}")
        if type(self.zero_point) is not int or not 0 <= self.zero_point <= 255:
            raise ValueError(f"a zero point must be a whole number from 0 to 255, got {self.zero_point!r}")
        object.__setattr__(self, "scale", scale)

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """The nearest bytes, ties to even; values off the grid go to its ends."""
        steps = np.rint(np.asarray(values, np.float64) / self.scale) + self.zero_point
        return np.clip(steps, 0, 255).astype(np.uint8)

    def dequantize(self, values: np.ndarray) -> np.ndarray:
        """float64 of bytes."""
        return self.scale * (values.astype(np.float64) - self.zero_point)


def silu_table(before: Grid, after: Grid) -> np.ndarray:
    """uint8 [256]: the byte on grid `after` of silu of each byte on grid `before`."""
    x = before.dequantize(np.arange(256))
    # tanh does not overflow where exp would.
    return after.quantize(x * 0.5 * (1 + np.tanh(x / 2)))


def pack_int4(values: np.ndarray) -> np.ndarray:
    """int8 of any shape with values -8 to 7 to uint8 [ceil(size / 2)], in C order, low half byte first."""
    flat = values.reshape(-1).astype(np.uint8) & 0xF
    pairs = np.append(flat, np.zeros(flat.size % 2, np.uint8)).reshape(-1, 2)
    return pairs[:, 0] | pairs[:, 1] << 4


def unpack_int4(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What `pack_int4` packed, int8 of that shape."""
    halves = np.stack([packed & 0xF, packed >> 4], axis=-1).reshape(-1)[: math.prod(shape)]
    return ((halves ^ 8).astype(np.int8) - 8).reshape(shape)

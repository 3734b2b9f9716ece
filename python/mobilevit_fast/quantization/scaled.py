"""Numbers that stand for real ones, and rounding that gradients pass straight through."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mobilevit_fast.quantization.point import Point

_HALF_ERROR = 1e-2


class Scaled(NamedTuple):
    """A tensor on its way through the network: real = numbers * unit.

    Attributes:
        numbers: whole numbers where there is a unit (bytes less their zero point, or sums of products), real
            ones where there is none.
        unit: broadcastable to `numbers`; None for real numbers.
        point: where the tensor was made; None for sums.
    """

    numbers: Tensor
    unit: Tensor | None = None
    point: Point | None = None

    @property
    def values(self) -> Tensor:
        """The real numbers."""
        return self.numbers if self.unit is None else self.numbers * self.unit

    def as_bytes(self) -> Scaled:
        """Itself on the grid of its point."""
        return self if self.unit is not None else self.point(self, force=True)


class _RoundThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


def round_through(x: Tensor) -> Tensor:
    """The nearest whole numbers, ties to even; the gradient is that of `x` itself."""
    return _RoundThrough.apply(x)


def to_half(values: Tensor) -> Tensor:
    """The nearest float16 numbers, in float32, so that a file can hold them in half the bytes.

    Numbers that float16 has not near enough stay. Gradients pass straight through.
    """
    half = values.detach().half().float()
    near = (half - values.detach()).abs() <= _HALF_ERROR * values.detach().abs()
    # The difference of two numbers so near is exact, and so is the sum.
    return values + torch.where(near, half - values.detach(), torch.zeros_like(half))


def learned_factor(change: Tensor, count: int) -> Tensor:
    """exp(change), for a scale that `count` numbers share.

    The gradient of all those numbers adds up; it is divided by its expected size, so that one learning rate
    serves scales and weights.
    """
    share = (count * 127) ** -0.5
    return (change * share + (change - change * share).detach()).exp()

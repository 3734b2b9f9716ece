"""An activation of the network, which may lie on a grid of bytes."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import torch
from torch import Tensor, nn

from mobilevit_fast.quantization.scaled import Scaled, learned_factor, round_through
from mobilevit_fast.weights import Grid


class Kind(Enum):
    """What decides how a tensor's grid is chosen."""

    PLAIN = "zero is on the grid, its ends are free"
    SYMMETRIC = "as much below zero as above"
    BEFORE_SILU = "only what SiLU makes of it counts"


class Point(nn.Module):
    """The place where one activation is made; passes it on real or as bytes.

    In eval mode bytes are rounded exactly as the integer engine rounds them: one fused multiply-add in
    float32. In training the same arithmetic runs in float32 throughout, and gradients reach inputs and scale.

    Attributes:
        kind: see `Kind`.
        is_bytes: whether the tensor is rounded to its grid for whoever reads it.
        watch: called with the real values of each pass, where set.
        scale, zero_point: the grid, float32 scalars.
        change: logarithm of what training multiplied the scale by; None where it is not trained.
        momentum: weight of a training batch in the range that the scale follows; None where it stays.
        span: average over the training batches of the range from the least value to the greatest.
    """

    scale: Tensor
    zero_point: Tensor
    span: Tensor

    def __init__(self, kind: Kind = Kind.PLAIN) -> None:
        super().__init__()
        self.kind = kind
        self.is_bytes = False
        self.watch: Callable[[Tensor], None] | None = None
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("zero_point", torch.full((), 128.0))
        self.register_buffer("span", torch.zeros(()))
        self.register_parameter("change", None)
        self.momentum: float | None = None

    def forward(self, x: Scaled, residual: Scaled | None = None, *, force: bool = False) -> Scaled:
        """`x`, plus `residual` where there is one; on the grid if `force` or if the tensor is bytes."""
        is_bytes = force or self.is_bytes
        if self.watch is not None or not is_bytes:
            values = x.values if residual is None else x.values + residual.values
            if self.watch is not None:
                self.watch(values.detach())
            if not is_bytes:
                return Scaled(values, None, self)
        if self.momentum is not None and self.training:
            self._follow(x.values if residual is None else x.values + residual.values)
        step = self.step(x.numbers[0].numel())
        steps = self._in_steps(x, step) if residual is None else self._added_in_steps(x, residual, step)
        numbers = steps.clamp(0, 255) - self.zero_point
        return Scaled(numbers.to(self.scale.dtype), step, self)

    def step(self, count: int = 1) -> Tensor:
        """The scale, as trained; `count` numbers of an image are rounded with it."""
        return self.scale if self.change is None else self.scale * learned_factor(self.change, count)

    def learn_scale(self) -> None:
        """Make the scale a parameter."""
        self.change = nn.Parameter(torch.zeros_like(self.scale))

    @property
    def grid(self) -> Grid:
        """Scale and zero point as they are now; setting it forgets what was learned of them."""
        return Grid(float(self.step()), int(self.zero_point))

    @grid.setter
    def grid(self, grid: Grid) -> None:
        with torch.no_grad():
            self.scale.fill_(grid.scale)
            self.zero_point.fill_(grid.zero_point)
            if self.change is not None:
                self.change.zero_()

    @torch.no_grad()
    def _follow(self, values: Tensor) -> None:
        low, high = values.aminmax()
        span = high.clamp(min=0) - low.clamp(max=0)
        before = torch.where(self.span > 0, self.span, span)
        after = before + self.momentum * (span - before)
        self.scale *= torch.where(before > 0, after / before, torch.ones_like(after))
        self.span.copy_(after)

    def _in_steps(self, x: Scaled, step: Tensor) -> Tensor:
        """Whole steps of the grid from its lower end, not clamped."""
        if x.unit is None:
            return round_through(self._precise(x.numbers) / step) + self.zero_point
        return round_through(self._multiply_add(x.numbers, x.unit / step, self.zero_point))

    def _added_in_steps(self, x: Scaled, residual: Scaled, step: Tensor) -> Tensor:
        if x.unit is None or residual.unit is None:
            return self._in_steps(Scaled(x.values + residual.values), step)
        multiplier, zero_point = residual.unit / step, residual.point.zero_point
        offset = self.zero_point - zero_point * multiplier
        steps = self._multiply_add(x.numbers, x.unit / step, offset)
        return round_through(self._multiply_add(residual.numbers + zero_point, multiplier, steps))

    def _multiply_add(self, x: Tensor, multiplier: Tensor, offset: Tensor) -> Tensor:
        # float64 holds the product of two float32 numbers exactly, so this rounds once, as a fused one does.
        return (self._precise(x) * multiplier + offset).to(x.dtype)

    def _precise(self, x: Tensor) -> Tensor:
        return x if self.training else x.double()

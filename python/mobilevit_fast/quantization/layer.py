"""A convolution or linear with its norm folded in: stored and computed as its format says."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilevit_fast.quantization.point import Kind, Point
from mobilevit_fast.quantization.scaled import Scaled, learned_factor, round_through, to_half
from mobilevit_fast.weights import LayerFormat
from mobilevit_fast.weights.shapes import Shape

FULL = LayerFormat("fp32", "float")

RANGES = {"int4": (-8, 7), "int8": (-127, 127)}
"""Integer weights -> least and greatest; int8 has no -128, so that it is symmetric."""

_HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Inputs(NamedTuple):
    """What a layer multiplies its weight with: real = numbers * unit.

    Attributes:
        numbers: maps [N, C, H, W].
        unit: of bytes; None for real numbers.
        second_ratio: unit of the second half of the channels over that of the first, where it has its own.
            The weight's second half is multiplied by it, so that both halves add up in one unit.
    """

    numbers: Tensor
    unit: Tensor | None = None
    second_ratio: Tensor | None = None


class Layer(nn.Module):
    """A convolution or linear (weight of rank 2) over maps [N, C, H, W], whose tokens are pixels.

    Attributes:
        weight, bias: real numbers; rounded on the way into every computation, with gradients passed through.
        weight_scale: [out], or [out, groups]; of integer weights.
        change: logarithm of what training multiplied the scales by; None where they are not trained.
        format: how the layer is stored and computed.
        pre, output: points before and after SiLU; None where there is no such tensor.
    """

    weight_scale: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        stride: int = 1,
        groups: int = 1,
        silu: bool = False,
        output: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0]))
        self.register_buffer("weight_scale", torch.ones(shape[0]))
        self.register_parameter("change", None)
        self.stride = stride
        self.groups = groups
        self.format = FULL
        self.pre = Point(Kind.BEFORE_SILU) if silu else None
        self.output = Point() if silu or output else None

    @property
    def is_integer(self) -> bool:
        """Whether it computes on bytes."""
        return self.format.compute == "int8"

    def forward(self, x: Scaled, second: Scaled | None = None) -> Scaled:
        """The sums before SiLU. `second` holds the input's further channels, with a unit of their own."""
        inputs = self.read(x, second)
        if self.is_integer:
            unit = inputs.unit * self.weight_step()
            sums = self._convolve(inputs.numbers, self.integer_weight(inputs.second_ratio))
            sums = _add_channels(sums, round_through(self.stored_bias() / unit))
            return Scaled(sums, unit.reshape(-1, 1, 1))
        if self.format.compute == "dynamic":
            return self._dynamic_sums(inputs.numbers)
        return Scaled(_add_channels(self._convolve(inputs.numbers, self.real_weight()), self.stored_bias()))

    def read(self, x: Scaled, second: Scaled | None = None) -> Inputs:
        """What the layer multiplies its weight with: bytes if it computes on bytes."""
        if self.is_integer:
            x = x.as_bytes()
            if second is None:
                return Inputs(x.numbers, x.unit)
            second = second.as_bytes()
            return Inputs(torch.cat((x.numbers, second.numbers), dim=1), x.unit, second.unit / x.unit)
        return Inputs(x.values if second is None else torch.cat((x.values, second.values), dim=1))

    def activate(self, sums: Scaled) -> Scaled:
        """SiLU where the layer has one; on the grids of its points if it computes on bytes."""
        if self.pre is not None:
            sums = self.pre(sums, force=self.is_integer)
            if self.is_integer and not self.training:
                # The precision of a table's entries.
                sums = sums._replace(numbers=sums.numbers.double())
            sums = Scaled(functional.silu(sums.values))
        return self.output(sums, force=self.is_integer)

    def weight_step(self) -> Tensor:
        """The scales, as trained."""
        if self.change is None:
            return self.weight_scale
        factor = learned_factor(self.change, self.weight.numel() // self.change.numel())
        return to_half(self.weight_scale * factor)

    def stored_bias(self) -> Tensor:
        """The bias as its storage rounds it."""
        return self.bias if self.format == FULL else to_half(self.bias)

    def learn_scale(self) -> None:
        """Make the scales parameters. Their number is that of the present format."""
        self.change = nn.Parameter(torch.zeros_like(self.weight_scale))

    def integer_weight(self, second_ratio: Tensor | None = None) -> Tensor:
        """Whole numbers of the weight's shape; for `second_ratio` see `Inputs`."""
        weight = scale_second(self.weight, second_ratio)
        low, high = RANGES[self.format.weights]
        return round_through((weight / self.spread(self.weight_step())).clamp(low, high))

    def real_weight(self) -> Tensor:
        """The weight as its storage rounds it."""
        if self.format.is_integer:
            return self.integer_weight() * self.spread(self.weight_step())
        if self.format.weights in _HALVES:
            return self.weight + (self.weight.to(_HALVES[self.format.weights]) - self.weight).detach()
        return self.weight

    def spread(self, scales: Tensor) -> Tensor:
        """[out] or [out, groups] to a shape that broadcasts with the weight."""
        size = self.format.group_size
        if size:
            inputs = self.weight[0].numel()
            size = min(size, inputs)
            return scales.repeat_interleave(size, dim=1)[:, :inputs].reshape(self.weight.shape)
        return scales.reshape(-1, *(1,) * (self.weight.ndim - 1))

    def _dynamic_sums(self, values: Tensor) -> Scaled:
        """Each pixel on a grid of its own, which spans its values and zero."""
        low = values.amin(1, keepdim=True).clamp(max=0)
        high = values.amax(1, keepdim=True).clamp(min=0)
        step = ((high - low) / 255).clamp(min=torch.finfo(values.dtype).tiny)
        zero_point = (-low / step).round()
        numbers = (round_through(values / step) + zero_point).clamp(0, 255) - zero_point
        sums = self._convolve(numbers, self.integer_weight()) * step
        return Scaled(_add_channels(sums * self.weight_step().reshape(-1, 1, 1), self.stored_bias()))

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        if weight.ndim == 2:
            weight = weight[:, :, None, None]
        padding = weight.shape[-1] // 2
        return functional.conv2d(x, weight, None, self.stride, padding, 1, self.groups)


def _add_channels(x: Tensor, values: Tensor) -> Tensor:
    """Maps [N, C, H, W] plus one number [C] for each channel."""
    return x + values.reshape(-1, 1, 1)


def scale_second(weight: Tensor, ratio: Tensor | None) -> Tensor:
    """The weight, its second half of input channels times `ratio` where there is one."""
    if ratio is None:
        return weight
    first, second = weight.chunk(2, dim=1)
    return torch.cat((first, second * ratio), dim=1)

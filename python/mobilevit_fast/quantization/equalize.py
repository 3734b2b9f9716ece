"""Levels the channels that share a grid, by factors that cancel out: the float network computes what it did.

A channel may be divided by a factor wherever the layers that read it are linear and take the factor in. That
holds for what the inverted residuals give (expansions, local and fusion convolutions read it), for values
(the attention's projection reads them), for the norm after the transformer (the block's projection reads it)
and between queries and keys. It does not hold across SiLU.

Level channels make the activation's grid finer and that of the weights coarser, so each set of channels is
levelled as far as an estimate of both errors says that it pays, which is often not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mobilevit_fast.config import STAGE_RESIDUALS, TRANSFORMER_STAGES
from mobilevit_fast.progress import Progress
from mobilevit_fast.quantization.calibration import run, watching
from mobilevit_fast.quantization.network import Attention, LayerNorm, QuantizedMobileViT
from mobilevit_fast.quantization.point import Point

_EXPONENTS = torch.linspace(0, 1, 9).tolist()
"""How far channels are levelled: 0 leaves them, 1 gives all the same range."""

_SMALL = 1e-3
"""Of the largest channel: one below it counts as this."""

_STEPS = 127
"""Of a grid, from zero to one end."""


@dataclass(frozen=True)
class Statistics:
    """Greatest magnitude and mean square of each channel, [channels]."""

    largest: Tensor
    power: Tensor


@dataclass(frozen=True)
class Channels:
    """Channels that may be divided by factors.

    Attributes:
        points: where they can be seen.
        rows: parameters whose first dimension they are.
        readers: weights whose second dimension they are.
    """

    points: list[Point]
    rows: list[Tensor]
    readers: list[Tensor]


@torch.no_grad()
def equalize(network: QuantizedMobileViT, images: Tensor, progress: Progress | None = None) -> None:
    """Rescale channels so that their ranges lie nearer together; the network has to compute in float.

    Args:
        images: float32 [N, 3, H, W].
    """
    seen = _observe(network, images, progress)
    for channels in free_channels(network):
        statistics = [seen[point] for point in channels.points]
        largest = torch.stack([each.largest for each in statistics]).amax(0)
        power = torch.stack([each.power for each in statistics]).amax(0)
        divide(channels, _best_factors(Statistics(largest, power), channels.readers))
    for module in network.modules():
        if isinstance(module, Attention):
            trade(module, (_relative(seen[module.q].largest) / _relative(seen[module.k].largest)).sqrt())


def free_channels(network: QuantizedMobileViT) -> Iterator[Channels]:
    """All channels that may be divided, but those of queries and keys."""
    for stage in range(len(network.stages)):
        yield from _residual_channels(network, stage)
    for name, module in network.named_modules():
        if isinstance(module, Attention):
            dim = module.projection.weight.shape[1]
            rows = [module.qkv.weight[2 * dim :], module.qkv.bias[2 * dim :]]
            yield Channels([module.v], rows, [module.projection.weight])
        elif isinstance(module, LayerNorm):
            project = network.layers[f"{name.removesuffix('norm')}project"]
            yield Channels([module.output], [module.weight, module.bias], [project.weight])


def divide(channels: Channels, factors: Tensor) -> None:
    """Divide the channels by factors [channels] and multiply the weights that read them."""
    for parameter in channels.rows:
        parameter /= _across(factors, parameter.ndim)
    for weight in channels.readers:
        weight *= _across(factors, weight.ndim - 1)


def trade(attention: Attention, factors: Tensor) -> None:
    """Divide queries and multiply keys by factors [dim]: their products stay the same."""
    for parameter in (attention.qkv.weight, attention.qkv.bias):
        query, key, _ = parameter.chunk(3)
        query /= _across(factors, parameter.ndim)
        key *= _across(factors, parameter.ndim)


def _residual_channels(network: QuantizedMobileViT, stage: int) -> Iterator[Channels]:
    """What the inverted residuals of a stage give: with shortcuts between them, the same channels."""
    blocks = list(network.stages[stage])[: STAGE_RESIDUALS[stage]]
    if blocks[0].output is not None:
        return  # The shortcut adds what a SiLU gave.
    points = [block.project.output if block.output is None else block.output for block in blocks]
    rows = [tensor for block in blocks for tensor in (block.project.weight, block.project.bias)]
    readers: list[Tensor] = [block.expand.weight for block in blocks[1:]]
    if stage in TRANSFORMER_STAGES:
        block = network.stages[stage][1]
        readers += [block.local.weight, block.fuse.weight.chunk(2, dim=1)[0]]
    else:
        readers.append(network.stages[stage + 1][0].expand.weight)
    yield Channels(points, rows, readers)


def _best_factors(seen: Statistics, readers: list[Tensor]) -> Tensor:
    candidates = [_relative(seen.largest) ** exponent for exponent in _EXPONENTS]
    return min(candidates, key=lambda factors: _error(factors, seen, readers))


def _error(factors: Tensor, seen: Statistics, readers: list[Tensor]) -> float:
    """Twelve times the square error that rounding of the activation and of the weights leaves in the sums."""
    step = (seen.largest / factors).amax() / _STEPS
    power = (seen.power / factors.square()).sum()
    total = 0.0
    for weight in readers:
        scaled = weight * _across(factors, weight.ndim - 1)
        weight_steps = scaled.flatten(1).abs().amax(1) / _STEPS
        window = weight[0, 0].numel()
        total += float(step.square() * scaled.square().sum() + weight_steps.square().sum() * power * window)
    return total


def _relative(largest: Tensor) -> Tensor:
    return (largest / largest.amax().clamp(min=torch.finfo(largest.dtype).tiny)).clamp(min=_SMALL)


def _across(factors: Tensor, ndim: int) -> Tensor:
    """[channels] to a shape of `ndim` dimensions, the first of them channels."""
    return factors.reshape(-1, *(1,) * (ndim - 1))


def _observe(
    network: QuantizedMobileViT, images: Tensor, progress: Progress | None
) -> dict[Point, Statistics]:
    largest: dict[Point, Tensor] = {}
    power: dict[Point, Tensor] = {}

    def look(point: Point, values: Tensor) -> None:
        peaks, squares = values.abs().amax((0, 2, 3)), values.square().mean((2, 3)).sum(0)
        if point not in largest:
            largest[point], power[point] = peaks, squares
        else:
            torch.maximum(largest[point], peaks, out=largest[point])
            power[point] += squares

    with watching(network, look):
        run(network, images, progress, "channels")
    return {point: Statistics(largest[point], power[point] / len(images)) for point in largest}

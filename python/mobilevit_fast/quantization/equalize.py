"""Levels the channels that share a grid, by factors that cancel out: the float network computes what it did.

A channel may be divided by a factor wherever the layers that read it are linear and take the factor in. That
holds for what the inverted residuals give (expansions, local and fusion convolutions read it), for values
(the attention's projection reads them), for the norm after the transformer (the block's projection reads it)
and between queries and keys. It does not hold across SiLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mobilevit_fast.config import STAGE_RESIDUALS, TRANSFORMER_STAGES
from mobilevit_fast.quantization.calibration import run, watching
from mobilevit_fast.quantization.layer import Layer
from mobilevit_fast.quantization.network import Attention, LayerNorm, QuantizedMobileViT
from mobilevit_fast.quantization.point import Point

_MOST = 8.0
"""A factor is at most this and at least its inverse."""

_SMALL = 1e-6
"""Of the largest channel: one below it counts as this."""


@dataclass(frozen=True)
class Channels:
    """Channels that may be divided by factors.

    Attributes:
        points: where they can be seen.
        rows: parameters whose first dimension they are.
        columns: weights whose second dimension they are.
    """

    points: list[Point]
    rows: list[Tensor]
    columns: list[Tensor]


@torch.no_grad()
def equalize(network: QuantizedMobileViT, images: Tensor) -> None:
    """Rescale channels so that their ranges lie nearer together; the network has to compute in float.

    Args:
        images: float32 [N, 3, H, W].
    """
    ranges = _channel_ranges(network, images)
    for channels in _free_channels(network):
        range_ = torch.stack([ranges[point] for point in channels.points]).amax(0)
        columns = torch.stack([_column_range(weight) for weight in channels.columns]).amax(0)
        _divide(channels, _factors(range_, columns))
    for module in network.modules():
        if isinstance(module, Attention):
            _level_query_and_key(module, ranges)


def _free_channels(network: QuantizedMobileViT) -> Iterator[Channels]:
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


def _level_query_and_key(attention: Attention, ranges: dict[Point, Tensor]) -> None:
    """Their products stay the same where one is divided by what the other is multiplied by."""
    layer: Layer = attention.qkv
    factors = _factors(ranges[attention.q], ranges[attention.k])
    for parameter in (layer.weight, layer.bias):
        query, key, _ = parameter.chunk(3)
        spread = factors.reshape(-1, *(1,) * (parameter.ndim - 1))
        query /= spread
        key *= spread


def _divide(channels: Channels, factors: Tensor) -> None:
    for parameter in channels.rows:
        parameter /= factors.reshape(-1, *(1,) * (parameter.ndim - 1))
    for weight in channels.columns:
        weight *= factors.reshape(-1, *(1,) * (weight.ndim - 2))


def _factors(mine: Tensor, other: Tensor) -> Tensor:
    """The square root of one range over the other, each relative to its largest channel."""
    mine, other = (x / x.amax().clamp(min=_SMALL) for x in (mine, other))
    return (mine.clamp(min=_SMALL) / other.clamp(min=_SMALL)).sqrt().clamp(1 / _MOST, _MOST)


def _column_range(weight: Tensor) -> Tensor:
    return weight.abs().amax(tuple(d for d in range(weight.ndim) if d != 1))


def _channel_ranges(network: QuantizedMobileViT, images: Tensor) -> dict[Point, Tensor]:
    """Greatest magnitude [channels] of each point's channels."""
    ranges: dict[Point, Tensor] = {}

    def widen(point: Point, values: Tensor) -> None:
        channels = values.abs().amax((0, 2, 3))
        ranges[point] = torch.maximum(ranges[point], channels) if point in ranges else channels

    with watching(network, widen):
        run(network, images)
    return ranges

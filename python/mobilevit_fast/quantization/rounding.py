"""Real weights to whole numbers times scales."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.quantization.layer import RANGES, Layer, scale_second
from mobilevit_fast.quantization.scaled import to_half

_SCALE_OF_ZEROS = 2.0**-10
"""Of what it is a scale does not matter there, but the bias is a whole number of its steps."""

_SMALLEST = 0.35
_STEPS = 53


@torch.no_grad()
def choose_scales(layer: Layer, second_ratio: Tensor | None = None) -> None:
    """Set the scales of a layer's integer weights to those with the least squared error.

    Args:
        second_ratio: see `layer.Inputs`.
    """
    low, high = RANGES[layer.format.weights]
    rows = scale_second(layer.weight, second_ratio).flatten(1)
    size = layer.format.group_size
    if size:
        size = min(size, rows.shape[1])
        groups = functional.pad(rows, (0, -rows.shape[1] % size)).reshape(-1, size)
        layer.weight_scale = _best_scales(groups, low, high).reshape(len(rows), -1)
    else:
        layer.weight_scale = _best_scales(rows, low, high)


def _best_scales(rows: Tensor, low: int, high: int) -> Tensor:
    """One for each row; one in whose steps a bias is fine enough for rows of zeros."""
    largest = torch.maximum(rows.amax(1) / high, rows.amin(1) / low)
    largest = to_half(torch.where(largest > 0, largest, torch.full_like(largest, _SCALE_OF_ZEROS)))
    best, least = largest, torch.full_like(largest, torch.inf)
    for fraction in torch.linspace(1, _SMALLEST, _STEPS).tolist():
        scale = to_half(largest * fraction)
        rounded = (rows / scale[:, None]).round().clamp(low, high) * scale[:, None]
        error = (rounded - rows).square().sum(1)
        better = error < least
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    return best

"""Scales of integer weights."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST = 0.35
_STEPS = 53


def choose_scales(weight: Tensor, low: int, high: int) -> Tensor:
    """The scale for each row of `weight` [rows, inputs] with the least squared error on whole numbers low..high.

    Rows of zeros get the scale 1.
    """
    largest = torch.maximum(weight.amax(1) / high, weight.amin(1) / low)
    largest = torch.where(largest > 0, largest, torch.ones_like(largest))
    best, least = largest, torch.full_like(largest, torch.inf)
    for fraction in torch.linspace(1, _SMALLEST, _STEPS).tolist():
        scale = largest * fraction
        rounded = (weight / scale[:, None]).round().clamp(low, high) * scale[:, None]
        error = (rounded - weight).square().sum(1)
        better = error < least
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    return best

"""Rounding of a weight that makes up for each rounding error in the weights not rounded yet."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 64


def round_with_feedback(
    weight: Tensor, scale: Tensor, moments: Tensor, low: int, high: int, damping: float
) -> Tensor:
    """Real weights [rows, inputs] on the grid of whole numbers low..high times scale.

    They are rounded one input after the other, the strongest first. What the error does to the output, on
    inputs with these moments, is made up for by the inputs that follow.

    Args:
        weight: [rows, inputs].
        scale: [rows] or [rows, inputs].
        moments: [inputs, inputs] or, with moments of its own for each row, [rows, inputs, inputs]: mean
            products of the inputs.
        damping: share of the mean square input that is added to every one's own.
    """
    if moments.ndim == 2:
        return _round_rows(
            weight[None], scale.reshape(1, len(weight), -1), moments[None], low, high, damping
        )[0]
    rows = _round_rows(weight[:, None], scale.reshape(len(weight), 1, -1), moments, low, high, damping)
    return rows[:, 0]


def _round_rows(
    weight: Tensor, scale: Tensor, moments: Tensor, low: int, high: int, damping: float
) -> Tensor:
    """As above for [sets, rows, inputs] with moments [sets, inputs, inputs]; all sets share one order."""
    dtype = weight.dtype
    inputs = weight.shape[-1]
    moments, weight = moments.double(), weight.double()
    scale = scale.double().expand_as(weight)
    power = moments.diagonal(dim1=-2, dim2=-1)
    floor = (power.mean(dim=-1) * damping).clamp(min=1e-12)
    order = power.mean(dim=0).argsort(descending=True)
    moments = (moments + torch.diag_embed(floor[:, None].expand(-1, inputs)))[:, order][:, :, order]
    weight, scale = weight[..., order].clone(), scale[..., order]
    lower = torch.linalg.cholesky(moments)
    factor = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
    rounded = torch.empty_like(weight)
    for start in range(0, inputs, _BLOCK):
        stop = min(start + _BLOCK, inputs)
        errors = torch.empty_like(weight[..., start:stop])
        for index in range(start, stop):
            column, step = weight[..., index], scale[..., index]
            rounded[..., index] = (column / step).round().clamp(low, high) * step
            error = (column - rounded[..., index]) / factor[:, None, index, index]
            errors[..., index - start] = error
            weight[..., index + 1 : stop] -= error[..., None] * factor[:, None, index, index + 1 : stop]
        weight[..., stop:] -= errors @ factor[:, start:stop, stop:]
    return rounded[..., order.argsort()].to(dtype)

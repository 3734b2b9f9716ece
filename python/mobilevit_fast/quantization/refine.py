"""Makes up for rounding, layer by layer on calibration images: in the other weights and in the biases.

Two passes over the same images. The first runs the float network and notes what each layer reads and gives.
The second runs the quantised network; each layer, when its turn comes, reads what the rounded layers before
it give and is fitted so that it gives what the float layer gave. A layer thus makes up for those before it as
well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.model import blocks
from mobilevit_fast.quantization.error_feedback import round_with_feedback
from mobilevit_fast.quantization.layer import FULL, RANGES, Inputs, Layer, scale_second
from mobilevit_fast.quantization.network import QuantizedMobileViT
from mobilevit_fast.quantization.rounding import choose_scales
from mobilevit_fast.quantization.scaled import Scaled
from mobilevit_fast.weights import LayerFormat

_ROWS = 8192
"""Positions of the calibration images that a weight is fitted on."""

_DAMPING = 0.1
_RIDGE = 0.1
"""Shares of the mean square input that hold a fitted weight near the trained one."""

_PIXELS = 32 * 256 * 256
"""Of all images that run as one batch."""


@dataclass(frozen=True)
class Expected:
    """What a layer of the float network reads and gives: rows [n, inputs] or None, and the mean [out]."""

    rows: Tensor | None
    mean: Tensor


def few_enough(images: Tensor) -> Tensor:
    """The first images, as many as fit into memory at once."""
    return images[: max(1, _PIXELS // (images.shape[2] * images.shape[3]))]


@torch.no_grad()
def refine(
    network: QuantizedMobileViT, formats: dict[str, LayerFormat], images: Tensor, *, correct_bias: bool
) -> None:
    """Put the network, which has its grids, into `formats` and round its weights.

    Weights of 4 bits are fitted; for those of 8 bits rounding to the nearest does as well.

    Args:
        images: float32 [N, 3, H, W]; `few_enough` of them are used.
        correct_bias: shift the outputs of the layers that are not fitted, too.
    """
    images = few_enough(images)
    expected = _record_float(network, formats, images)
    network.set_formats(formats)

    def before(layer: Layer, inputs: tuple[Scaled, ...], name: str) -> None:
        if layer.format.is_integer:
            _round(layer, layer.read(*inputs), expected[name].rows)

    def after(layer: Layer, inputs: tuple[Scaled, ...], sums: Scaled, name: str) -> Scaled | None:
        if expected[name].rows is not None or not (correct_bias and layer.format.is_integer):
            return None
        layer.bias += expected[name].mean - _channel_mean(sums.values)
        return layer.forward(*inputs)

    with _hooks(network, before, after):
        network(images)


def _record_float(
    network: QuantizedMobileViT, formats: dict[str, LayerFormat], images: Tensor
) -> dict[str, Expected]:
    network.set_formats(dict.fromkeys(network.layers, FULL))
    expected: dict[str, Expected] = {}

    def after(layer: Layer, inputs: tuple[Scaled, ...], sums: Scaled, name: str) -> None:
        is_fitted = formats[name].weights == "int4"
        rows = _rows(layer, layer.read(*inputs).numbers) if is_fitted else None
        expected[name] = Expected(rows, _channel_mean(sums.values))

    with _hooks(network, None, after):
        network(images)
    return expected


def _round(layer: Layer, inputs: Inputs, expected: Tensor | None) -> None:
    if expected is None:
        choose_scales(layer, inputs.second_ratio)
        return
    rows, ratio = _rows(layer, inputs.numbers).double(), inputs.second_ratio
    expected = expected.double() / (1 if inputs.unit is None else inputs.unit)
    if ratio is not None:
        first, second = expected.chunk(2, dim=-1)
        expected = torch.cat((first, second / ratio), dim=-1)
    moments = rows.transpose(-1, -2) @ rows / rows.shape[-2]
    drift = rows.transpose(-1, -2) @ (expected - rows) / rows.shape[-2]
    layer.weight.copy_(_unscale_second(_follow(layer, moments, drift, ratio), ratio))
    choose_scales(layer, ratio)
    rounded = round_with_feedback(
        scale_second(layer.weight, ratio).flatten(1),
        layer.spread(layer.weight_scale).expand_as(layer.weight).flatten(1),
        moments,
        *RANGES[layer.format.weights],
        _DAMPING,
    )
    layer.weight.copy_(_unscale_second(rounded.reshape(layer.weight.shape), ratio))


def _follow(layer: Layer, moments: Tensor, drift: Tensor, ratio: Tensor | None) -> Tensor:
    """The real weight that gives on the present rows what the trained one gave on the expected ones, nearly.

    It solves (moments + ridge) change = drift @ weight.
    """
    weight = scale_second(layer.weight, ratio)
    columns = weight.flatten(1).double().T
    if moments.ndim == 3:
        columns = columns.T[:, :, None]
    ridge = moments.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True) * _RIDGE
    held = moments + torch.diag_embed(ridge.clamp(min=1e-12).expand(moments.shape[:-1]))
    columns = columns + torch.linalg.solve(held, drift @ columns)
    changed = columns[:, :, 0] if moments.ndim == 3 else columns.T
    return changed.reshape(weight.shape).to(weight.dtype)


def _unscale_second(weight: Tensor, ratio: Tensor | None) -> Tensor:
    return scale_second(weight, None if ratio is None else 1 / ratio)


def _rows(layer: Layer, x: Tensor) -> Tensor:
    """Some rows [n, inputs] of what the weight is multiplied with; [channels, n, 9] for depthwise filters.

    They are of the same positions for the same shapes.
    """
    size = 1 if layer.weight.ndim == 2 else layer.weight.shape[-1]
    if size == 1:
        return _pick(blocks.to_tokens(x).reshape(-1, x.shape[1]))
    windows = functional.unfold(x, size, padding=size // 2, stride=layer.stride)
    if layer.groups == 1:
        return _pick(windows.transpose(1, 2).reshape(-1, windows.shape[1]))
    windows = windows.unflatten(1, (layer.groups, -1)).permute(0, 3, 1, 2).flatten(0, 1)
    return _pick(windows).transpose(0, 1)


def _pick(rows: Tensor) -> Tensor:
    # Not every n-th: that could be one column of the map.
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return rows[order[:_ROWS]]


def _channel_mean(values: Tensor) -> Tensor:
    return values.mean((0, 2, 3))


@contextmanager
def _hooks(
    network: QuantizedMobileViT, before: Callable[..., Any] | None, after: Callable[..., Any]
) -> Iterator[None]:
    """Has both called with each layer, its inputs, its sums (after) and its name."""
    handles = []
    for name, layer in network.layers.items():
        if before is not None:
            handles.append(
                layer.register_forward_pre_hook(lambda layer, x, name=name: before(layer, x, name))
            )
        handles.append(
            layer.register_forward_hook(lambda layer, x, sums, name=name: after(layer, x, sums, name))
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

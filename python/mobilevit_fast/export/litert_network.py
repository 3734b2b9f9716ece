"""A quantised MobileViT in those patterns of quantize and dequantize nodes that TFLite has kernels for.

They differ from the usual ones: bytes are signed; the quantised dimension is a weight's first; queries, keys
and values, which have a grid each, are three layers; a sum of a layer and a residual takes both as bytes; and
a dequantize node has the grid of the quantize node before it, so that factors stand apart.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.export.mapping import PatchSplit, mix, score_scale
from mobilevit_fast.export.network import ExportNetwork
from mobilevit_fast.export.quantized_network import QuantizedExportNetwork, input_names
from mobilevit_fast.weights import Grid, QuantizedCheckpoint

_quantized = torch.ops.quantized_decomposed

_BYTES = (-128, 127, torch.int8)
_WEIGHTS = (-127, 127, torch.int8)
_SIGNED_ZERO = 128
"""What a zero point loses when bytes become signed."""

_SIGMOID = Grid(1 / 256, 0)

_PARTS = ("q", "k", "v")


class LitertNetwork(QuantizedExportNetwork):
    """As `QuantizedExportNetwork`, with the layers that compute in int8 in TFLite's patterns.

    Other layers have plain float weights here, whatever they are stored as: a converter would unfold them.
    """

    def __init__(self, checkpoint: QuantizedCheckpoint, split: PatchSplit) -> None:
        super().__init__(checkpoint, split)
        self.inputs = input_names(checkpoint.config)
        for name in checkpoint.layers:
            if name.endswith(".fuse") and self.is_int8(name):
                weight, bias = ExportNetwork.layer(self, name)
                second = weight[:, weight.shape[1] // 2 :]
                self.add(f"{name}.bias", (bias - self.shift(name) * second.sum((1, 2, 3))).numpy())

    # ---- parameters

    def is_int8(self, name: str) -> bool:
        return self.weights.checkpoint.layers[name].compute == "int8"

    def add_layer(self, name: str, weight: np.ndarray, bias: np.ndarray) -> None:
        if not (name.endswith(".qkv") and self.is_int8(name)):
            self._add_part(name, slice(None), name, weight, bias)
            return
        dim = len(weight) // len(_PARTS)
        for index, part in enumerate(_PARTS):
            rows = slice(index * dim, (index + 1) * dim)
            self._add_part(name, rows, f"{name}.{part}", weight, bias)

    def _add_part(self, layer: str, rows: slice, name: str, weight: np.ndarray, bias: np.ndarray) -> None:
        ExportNetwork.add_layer(self, name, weight[rows], bias[rows])
        if self.is_int8(layer):
            scale = self.weights.checkpoint.scales[layer][rows]
            self.add(f"{name}.scale", scale)
            self.add(f"{name}.zero", np.zeros(len(scale)), np.int64)

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        weight, bias = ExportNetwork.layer(self, name)
        if self.has(f"{name}.scale"):
            grid = (self.buffer(f"{name}.scale"), self.buffer(f"{name}.zero"), 0, *_WEIGHTS)
            weight = _quantized.quantize_per_channel(weight, *grid)
            weight = _quantized.dequantize_per_channel(weight, *grid)
        return weight, bias

    # ---- activations

    def at(self, name: str, x: Tensor, factor: float = 1.0) -> Tensor:
        if name in self.grids:
            x = on(x, self.grids[name])
        return x if factor == 1 else x * factor

    def shift(self, fuse: str) -> float:
        """What a fuse convolution's second input is off by, when its bytes are read on the first's grid."""
        first, second = self.fuse_grids(fuse)
        return first.scale * (second.zero_point - first.zero_point)

    def fuse_grids(self, fuse: str) -> tuple[Grid, Grid]:
        return self.grids[self.inputs[fuse]], self.grids[f"{fuse.removesuffix('fuse')}project"]

    # ---- the layers

    def inverted_residual(self, name: str, x: Tensor, stride: int, residual: bool) -> Tensor:
        if not (residual and self.is_int8(f"{name}.project")):
            return super().inverted_residual(name, x, stride, residual)
        y = self.convolution(f"{name}.depthwise", self.convolution(f"{name}.expand", x))
        y = self.sums(f"{name}.project", y)
        grid = difference(self.grids[name], self.grids[self.inputs[f"{name}.expand"]])
        return self.at(name, on(y, grid) + x)

    def fuse(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        if not self.is_int8(name):
            return super().fuse(name, x, y)
        # One tensor has one grid: the second's bytes stay as they are, read on the first's grid. That moves
        # all of them by `shift`, which the bias takes back, and zeros around the map have to move too.
        first, second = self.fuse_grids(name)
        shift = self.shift(name)
        y = on(y * (first.scale / second.scale) + shift, first)
        around = (1, 1, 1, 1)
        joined = torch.cat((functional.pad(x, around), functional.pad(y, around, value=shift)), dim=1)
        weight, bias = self.layer(name)
        return self.activate(name, functional.conv2d(on(joined, first), weight, bias))

    def linear(self, name: str, x: Tensor, *, silu: bool = False, residual: Tensor | None = None) -> Tensor:
        y = functional.linear(x, *self.layer(name))
        if silu:
            y = self.activate(name, y)
        return y if residual is None else y + residual

    def attend(self, name: str, x: Tensor) -> Tensor:
        if not self.is_int8(f"{name}.qkv"):
            return super().attend(name, x)
        query, key, value = (
            self.at(f"{name}.{part}", self.linear(f"{name}.qkv.{part}", x)) for part in _PARTS
        )
        heads = self.config.num_heads
        return self.at(name, mix(query * score_scale(query, heads), key, value, heads))


class ByteSigmoidNetwork(LitertNetwork):
    """As `LitertNetwork`, with the sigmoid inside SiLU on the only grid that TFLite has for it."""

    def activate(self, name: str, sums: Tensor) -> Tensor:
        before = f"{name}.pre"
        if before not in self.grids or name not in self.grids:
            return super().activate(name, sums)
        x = self.at(before, sums)
        return self.at(name, x * on(torch.sigmoid(x), _SIGMOID))


def on(x: Tensor, grid: Grid) -> Tensor:
    """`x` rounded to a grid."""
    place = (grid.scale, grid.zero_point - _SIGNED_ZERO, *_BYTES)
    return _quantized.dequantize_per_tensor(_quantized.quantize_per_tensor(x, *place), *place)


def difference(total: Grid, part: Grid) -> Grid:
    """For what is added to a `part` to become a `total`: beyond its ends the total is at an end of its own
    whatever the part, so that nothing is lost there.
    """
    lowest = -total.zero_point * total.scale - (255 - part.zero_point) * part.scale
    highest = (255 - total.zero_point) * total.scale + part.zero_point * part.scale
    scale = (highest - lowest) / 255
    return Grid(scale, round(-lowest / scale))

"""A quantised MobileViT as it is exported: float operations between quantize and dequantize nodes.

Every activation that the checkpoint has a grid for passes a pair of nodes on that grid, and integer weights
and biases a dequantize node. A runtime that knows the pattern computes in integers; any other computes the
same in floats. Layers that quantise their inputs at run time leave them in floats.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

# Defines torch.ops.quantized_decomposed, which converters know.
import torch.ao.quantization.fx._decomposed
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.config import ModelConfig
from mobilevit_fast.export.mapping import PatchSplit, mix, score_scale
from mobilevit_fast.export.network import POINTWISE, ExportNetwork
from mobilevit_fast.integer_weights import IntegerLayers
from mobilevit_fast.lower_quantized import RealWeights
from mobilevit_fast.model import blocks
from mobilevit_fast.weights import Grid, QuantizedCheckpoint
from mobilevit_fast.weights.byte_tensors import integer_groups

_quantized = torch.ops.quantized_decomposed


class QuantizedExportNetwork(ExportNetwork):
    """As `ExportNetwork`, of a quantised checkpoint."""

    weights: RealWeights
    mix = staticmethod(mix)

    def __init__(self, checkpoint: QuantizedCheckpoint, split: PatchSplit) -> None:
        super().__init__(checkpoint.config, RealWeights(checkpoint), split)

    # ---- parameters

    @property
    def grids(self) -> Mapping[str, Grid]:
        """Name of an activation that is bytes -> its grid."""
        return self.weights.checkpoint.activations

    def add_layer(self, name: str, weight: np.ndarray, bias: np.ndarray) -> None:
        """Matrices are transposed, for `x @ weight`: runtimes look for integers right before the product."""
        checkpoint = self.weights.checkpoint
        given = checkpoint.layers[name]
        is_matrix = weight.ndim == 2 or name in POINTWISE
        if given.is_integer and not given.group_size:
            self.add(f"{name}.scale", checkpoint.scales[name])
            weight, dtype = checkpoint.weights[name], np.int8
        else:
            dtype = np.float32
        self.add(f"{name}.weight", weight.reshape(weight.shape[:2]).T if is_matrix else weight, dtype)
        if given.compute == "int8":
            grid = self.grids[input_names(self.config)[name]]
            sums = IntegerLayers(checkpoint).to_float(name, grid.scale)
            if not sums["offset"].any():
                self.add(f"{name}.bias_scale", sums["multiplier"])
                self.add(f"{name}.bias", sums["bias"], np.int32)
                return
        self.add(f"{name}.bias", bias)

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias as real numbers; those of norms too."""
        weight, bias = super().layer(name)
        if weight.dtype == torch.int8:
            weight = _dequantize(weight, self.buffer(f"{name}.scale"), axis=0 if weight.ndim == 4 else 1)
        if bias.dtype == torch.int32:
            bias = _dequantize(bias, self.buffer(f"{name}.bias_scale"), axis=0)
        return weight, bias

    def at(self, name: str, x: Tensor, factor: float = 1.0) -> Tensor:
        """The activation `name`, on its grid if it has one, times `factor`."""
        if name not in self.grids:
            return x if factor == 1 else x * factor
        grid = self.grids[name]
        limits = (0, 255, torch.uint8)
        numbers = _quantized.quantize_per_tensor(x, grid.scale, grid.zero_point, *limits)
        return _quantized.dequantize_per_tensor(numbers, grid.scale * factor, grid.zero_point, *limits)

    # ---- the layers

    def forward(self, pixel_values: Tensor) -> Tensor:
        return super().forward(self.at("image", pixel_values))

    def stem(self, x: Tensor) -> Tensor:
        return self.convolution("stem", x, stride=2)

    def convolution(self, name: str, x: Tensor, *, stride: int = 1) -> Tensor:
        """With SiLU."""
        return self.activate(name, self.sums(name, x, stride))

    def sums(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = self.layer(name)
        groups = x.shape[1] // weight.shape[1]
        return functional.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)

    def activate(self, name: str, sums: Tensor) -> Tensor:
        return self.at(name, functional.silu(self.at(f"{name}.pre", sums)))

    def inverted_residual(self, name: str, x: Tensor, stride: int, residual: bool) -> Tensor:
        y = self.convolution(f"{name}.expand", x)
        y = self.convolution(f"{name}.depthwise", y, stride=stride)
        y = self.sums(f"{name}.project", y)
        return self.at(name, y + x) if residual else self.at(f"{name}.project", y)

    def conv3x3(self, name: str, x: Tensor) -> Tensor:
        return self.convolution(name, x)

    def fuse(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        first = input_names(self.config)[name]
        if self.weights.checkpoint.layers[name].compute == "int8":
            # The second half's weights were multiplied by this ratio's inverse before they became integers.
            second = f"{name.removesuffix('fuse')}project"
            y = y * (self.grids[first].scale / self.grids[second].scale)
        return self.convolution(name, torch.cat((x, y), dim=1))

    def linear(self, name: str, x: Tensor, *, silu: bool = False, residual: Tensor | None = None) -> Tensor:
        y = self.product(name, x)
        if silu:
            y = self.activate(name, y)
        return y if residual is None else y + residual

    def product(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.layer(name)
        return x @ weight + bias

    def attention(self, name: str, qkv: Tensor) -> Tensor:
        heads = self.config.num_heads
        query, key, value = qkv.chunk(3, dim=-1)
        query = self.at(f"{name}.q", query, score_scale(query, heads))
        key, value = self.at(f"{name}.k", key), self.at(f"{name}.v", value)
        _, positions = self.split.attention_patch(self.config.patch_size)
        return self.at(name, self.mix(query, key, value, heads, positions))

    def standardise(self, name: str, x: Tensor) -> Tensor:
        return self.at(name, super().standardise(name, x))

    def norm(self, name: str, x: Tensor) -> Tensor:
        return self.at(name, super().norm(name, x))

    def resize_norm(self, name: str, x: Tensor, height: int, width: int) -> Tensor:
        y = self.resize(x, height, width)
        return y if y is x else self.at(name, y)

    def classify(self, x: Tensor) -> Tensor:
        pooled = self.linear("head", blocks.to_tokens(x), silu=True).mean(dim=(1, 2))
        return self.linear("classifier", self.at("pooled", pooled))


def input_names(config: ModelConfig) -> dict[str, str]:
    """Layer -> the activation that it multiplies; of two, the first."""
    names = {}
    for layers, activations in integer_groups(config):
        names[layers[0]] = activations[0]
        for layer in layers[1:]:
            names[layer] = _input_within(layer)
    return names


def _input_within(layer: str) -> str:
    """The activation that a later layer of a group reads."""
    name, _, kind = layer.rpartition(".")
    return {
        "depthwise": f"{name}.expand",
        "project": f"{name}.depthwise",
        "projection": name,
        "down": f"{name}.up",
    }[kind]


def _dequantize(integers: Tensor, scales: Tensor, axis: int) -> Tensor:
    limits = torch.iinfo(integers.dtype)
    return _quantized.dequantize_per_channel(
        integers, scales, None, axis, limits.min, limits.max, integers.dtype
    )

"""A quantised MobileViT for converters that look for whole layers.

Matrices lie as `torch.nn.Linear` has them, biases are floats, and both nodes of a pair name the same scale.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.export.mapping import mix_whole
from mobilevit_fast.export.network import POINTWISE, ExportNetwork
from mobilevit_fast.export.quantized_network import QuantizedExportNetwork

_quantized = torch.ops.quantized_decomposed


class WholeLayersNetwork(QuantizedExportNetwork):
    """As `QuantizedExportNetwork`; weights with scales for groups of a row become floats."""

    def add_layer(self, name: str, weight: np.ndarray, bias: np.ndarray) -> None:
        checkpoint, dtype = self.weights.checkpoint, np.float32
        given = checkpoint.layers[name]
        if given.is_integer and not given.group_size:
            self.add(f"{name}.scale", checkpoint.scales[name])
            self.add(f"{name}.zero_point", np.zeros(len(weight)), np.int8)
            weight, dtype = checkpoint.weights[name], np.int8
        self.add(f"{name}.weight", weight.reshape(weight.shape[:2]) if name in POINTWISE else weight, dtype)
        self.add(f"{name}.bias", bias)

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        weight, bias = ExportNetwork.layer(self, name)
        if weight.dtype == torch.int8:
            weight = self.to_real(name, weight, self.buffer(f"{name}.scale"))
        return weight, bias

    def to_real(self, name: str, weight: Tensor, scale: Tensor) -> Tensor:
        """int8 [out, ...] times float32 [out]."""
        zeros = self.buffer(f"{name}.zero_point")
        return _quantized.dequantize_per_channel(weight, scale, zeros, 0, -128, 127, torch.int8)

    def at(self, name: str, x: Tensor, factor: float = 1.0) -> Tensor:
        y = super().at(name, x)
        return y if factor == 1 else y * factor

    def product(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, *self.layer(name))


class ScaledWeightsNetwork(WholeLayersNetwork):
    """The same with weights multiplied by their scales, which OpenVINO knows for quantised ones, and with
    attention as one operator.
    """

    mix = staticmethod(mix_whole)

    def to_real(self, name: str, weight: Tensor, scale: Tensor) -> Tensor:
        return weight.float() * scale.reshape(-1, *[1] * (weight.ndim - 1))

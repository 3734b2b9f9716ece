"""Layers as inference computes them: each norm folded into the layer beside it, in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mobilevit_fast.config import ModelConfig
from mobilevit_fast.weights.shapes import Shape, layer_shapes

FoldedLayer = tuple[np.ndarray, np.ndarray | None]
"""Weight [out, in / groups, height, width] or [out, in], and bias [out] or None; both float64."""

_LAYER_NORMS = {"attention.qkv": "norm1", "ffn.up": "norm2"}
"""End of a linear's name -> the layer norm before it."""


class Folding:
    """Reads parameters by this project's names, checks their shapes and folds norms.

    Every method raises ValueError where a tensor is missing or has another shape, and names it.
    """

    def __init__(self, config: ModelConfig, tensors: Mapping[str, np.ndarray]) -> None:
        self.config = config
        self.tensors = tensors
        self.shapes = layer_shapes(config)

    def take(self, name: str, shape: Shape) -> np.ndarray:
        """The tensor `name` in float64."""
        if name not in self.tensors:
            raise ValueError(f"{self.config.name} needs {name} of shape {list(shape)}, which is missing")
        array = np.asarray(self.tensors[name], dtype=np.float64)
        if array.shape != shape:
            given = list(array.shape)
            raise ValueError(f"{self.config.name} needs {name} of shape {list(shape)}, got {given}")
        return array

    def convolution(self, name: str, inputs: int, out: int, kernel: int) -> FoldedLayer:
        """Weight [out, inputs, kernel, kernel] and bias [out] of a convolution, its BatchNorm folded in."""
        weight = self.take(f"{name}.conv.weight", (out, inputs, kernel, kernel))
        gamma, beta, mean, variance = (
            self.take(f"{name}.norm.{part}", (out,))
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + self.config.batch_norm_eps)
        return weight * scale[:, None, None, None], beta - mean * scale

    def fully_connected(self, name: str, inputs: int, out: int) -> FoldedLayer:
        return self.take(f"{name}.weight", (out, inputs)), self.take(f"{name}.bias", (out,))

    def normalized(self, name: str, inputs: int, out: int) -> FoldedLayer:
        """The linear that does to standardised rows what the layer norm before `name` and `name` would."""
        weight, bias = self.fully_connected(name, inputs, out)
        linear = next(linear for linear in _LAYER_NORMS if name.endswith(linear))
        norm = f"{name.removesuffix(linear)}{_LAYER_NORMS[linear]}"
        gamma, beta = self.scale_and_shift(norm, inputs)
        return weight * gamma, bias + weight @ beta

    def scale_and_shift(self, name: str, dim: int) -> tuple[np.ndarray, np.ndarray]:
        return self.take(f"{name}.weight", (dim,)), self.take(f"{name}.bias", (dim,))

    def layer(self, name: str) -> FoldedLayer:
        """Any layer of `layer_shapes`, by its name."""
        out, inputs, *kernel = self.shapes[name]
        if name.endswith(".embed"):
            return self.take(f"{name}.weight", (out, inputs, *kernel)), None
        if kernel:
            return self.convolution(name, inputs, out, kernel[0])
        if name.endswith(tuple(_LAYER_NORMS)):
            return self.normalized(name, inputs, out)
        return self.fully_connected(name, inputs, out)

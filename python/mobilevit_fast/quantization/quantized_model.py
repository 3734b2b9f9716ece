"""The outcome of quantisation: a network that computes as the file will, and the way to that file."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mobilevit_fast.config import ModelConfig
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.quantization.config import Recipe
from mobilevit_fast.quantization.network import LayerNorm, QuantizedMobileViT
from mobilevit_fast.weights import LayerFormat, QuantizedCheckpoint, parameter_shapes, save_quantized
from mobilevit_fast.weights.quantized import quantized_size


@dataclass(frozen=True)
class Report:
    """What became of a model.

    Attributes:
        recipe: as it was given.
        bytes: size of the file.
        float_bytes: size of the tensors in float32.
        layers: format of each layer.
        notes: what else is worth knowing, one sentence each.
    """

    recipe: str
    bytes: int
    float_bytes: int
    layers: dict[str, LayerFormat]
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """How many times smaller than float32."""
        return self.float_bytes / self.bytes

    def __str__(self) -> str:
        kinds = Counter((layer.weights, layer.compute) for layer in self.layers.values())
        counts = ", ".join(
            f"{number} with {weights} weights computing in {compute}"
            for (weights, compute), number in kinds.most_common()
        )
        lines = [
            self.recipe,
            f"{self.bytes:,} bytes, {self.ratio:.2f} times smaller than float32",
            f"layers: {counts}",
            *self.notes,
        ]
        return "\n".join(lines)


class QuantizedModel:
    """A quantised model: call it on float images [N, 3, H, W] for logits, save it for a `Session` to run.

    Attributes:
        network: the torch module, in eval mode, that computes what the integer engine computes.
        recipe: what made it.
    """

    def __init__(self, network: QuantizedMobileViT, recipe: Recipe, notes: tuple[str, ...] = ()) -> None:
        self.network = network.eval()
        self.recipe = recipe
        self._notes = notes

    def __call__(self, pixel_values: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.network(pixel_values)

    @property
    def preprocessing(self) -> Preprocessing:
        """The rule of the images that it answers."""
        return self.network.preprocessing

    @property
    def labels(self) -> tuple[str, ...]:
        """One name a class."""
        return self.network.labels

    @property
    def report(self) -> Report:
        """What became of each layer, and the sizes of the files before and after."""
        checkpoint = self.checkpoint()
        return Report(
            recipe=checkpoint.recipe,
            bytes=quantized_size(checkpoint),
            float_bytes=float_size(checkpoint.config),
            layers=checkpoint.layers,
            notes=self._notes,
        )

    def checkpoint(self) -> QuantizedCheckpoint:
        """The model as plain data, which `Session` takes."""
        return to_checkpoint(self.network, repr(self.recipe))

    def save(self, path: str | os.PathLike) -> None:
        """Write one safetensors file, which `Session` runs without torch.

        Raises FileNotFoundError where the folder of `path` does not exist.
        """
        save_quantized(path, self.checkpoint())

    def __repr__(self) -> str:
        return f"QuantizedModel({self.network.config.name}, {self.recipe!r})"


def float_size(config: ModelConfig) -> int:
    """Bytes of a model's parameters and BatchNorm statistics in float32."""
    return 4 * sum(math.prod(shape) for shape in parameter_shapes(config).values())


@torch.no_grad()
def to_checkpoint(network: QuantizedMobileViT, recipe: str) -> QuantizedCheckpoint:
    """The network's numbers as they are stored."""
    weights, scales, biases, norms = {}, {}, {}, {}
    for name, layer in network.layers.items():
        if layer.format.is_integer:
            weights[name] = _array(layer.integer_weight(network.second_ratio(name))).astype(np.int8)
            scales[name] = _array(layer.weight_step())
        else:
            weights[name] = _array(layer.real_weight())
        biases[name] = _array(layer.stored_bias())
    for name, module in network.named_modules():
        if isinstance(module, LayerNorm):
            norms |= {f"{name}.weight": _array(module.weight), f"{name}.bias": _array(module.bias)}
    return QuantizedCheckpoint(
        config=network.config.plain(),
        layers={name: layer.format for name, layer in network.layers.items()},
        weights=weights,
        scales=scales,
        biases=biases,
        norms=norms,
        activations={name: point.grid for name, point in network.points.items() if point.is_bytes},
        preprocessing=network.preprocessing,
        labels=network.labels,
        source=network.config.name,
        recipe=recipe,
    )


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy()).copy()

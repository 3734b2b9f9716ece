"""Quantised models with random weights, made without torch: for measuring and testing, not for answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mobilevit_fast.benchmark.random_weights import random_checkpoint
from mobilevit_fast.folding import Folding
from mobilevit_fast.weights import Grid, LayerFormat, QuantizedCheckpoint, layer_shapes
from mobilevit_fast.weights.byte_tensors import byte_tensors

INT8 = LayerFormat("int8", "int8")

_RANGES = {
    "image": (0.0, 1.0),
    "pre": (-4.0, 4.0),
    "norm": (-4.0, 4.0),
    "norm1": (-4.0, 4.0),
    "norm2": (-4.0, 4.0),
    "q": (-4.0, 4.0),
    "k": (-4.0, 4.0),
    "v": (-4.0, 4.0),
    "attention": (-2.0, 2.0),
    "pooled": (-0.3, 2.0),
}
"""Last part of an activation's name -> its least and greatest value, for signals of power 1."""

_AFTER_SILU = (-0.28, 4.0)
_LINEAR_OUTPUT = (-6.0, 6.0)


def random_quantized(
    name: str, seed: int = 0, formats: Mapping[str, LayerFormat] | None = None
) -> QuantizedCheckpoint:
    """The variant `name` with the weights of `random_checkpoint`, each rounded to the nearest.

    Args:
        name: the variant.
        seed: of the weights.
        formats: of the layers that are not to be in 8 bits; none with groups.
    """
    checkpoint = random_checkpoint(name, seed)
    folding = Folding(checkpoint.config, checkpoint.tensors)
    layers = {layer: (formats or {}).get(layer, INT8) for layer in layer_shapes(checkpoint.config)}
    computes = {layer: layer_format.compute for layer, layer_format in layers.items()}
    activations = {tensor: _grid(tensor) for tensor in byte_tensors(checkpoint.config, computes)}
    weights, scales, biases = {}, {}, {}
    for layer, layer_format in layers.items():
        weight, bias = folding.layer(layer)
        biases[layer] = np.zeros(len(weight), np.float32) if bias is None else bias.astype(np.float32)
        if not layer_format.is_integer:
            weights[layer] = weight.astype(np.float32)
            continue
        if layer.endswith(".fuse") and layer_format.compute == "int8":
            block = layer.removesuffix(".1.fuse")
            first = activations.get(f"{block}.0") or activations[f"{block}.0.project"]
            half = weight.shape[1] // 2
            weight[:, half:] *= activations[f"{block}.1.project"].scale / first.scale
        weights[layer], scales[layer] = _round(weight, 7 if layer_format.weights == "int4" else 127)
    return QuantizedCheckpoint(
        config=checkpoint.config,
        layers=layers,
        weights=weights,
        scales=scales,
        biases=biases,
        norms={
            key: checkpoint.tensors[key]
            for key in checkpoint.tensors
            if key.rpartition(".")[0].endswith(".1.norm")
        },
        activations=activations,
        preprocessing=checkpoint.preprocessing,
        labels=checkpoint.labels,
        source=f"{name} with random weights, quantised",
        recipe="random weights",
    )


def _grid(tensor: str) -> Grid:
    own = tensor.rpartition(".")[2]
    is_linear_output = own == "project" and tensor.count(".") == 3 and not tensor.endswith(".1.project")
    usual = _LINEAR_OUTPUT if own.isdigit() or is_linear_output else _AFTER_SILU
    low, high = _RANGES.get(own, usual)
    scale = (high - low) / 255
    return Grid(scale, 128 if own in ("q", "k", "v") else round(-low / scale))


def _round(weight: np.ndarray, greatest: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers and the scale of each output channel."""
    rows = weight.reshape(len(weight), -1)
    scale = (np.abs(rows).max(axis=1) / greatest).astype(np.float32)
    return np.rint(rows / scale[:, None]).astype(np.int8).reshape(weight.shape), scale

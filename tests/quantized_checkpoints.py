"""Quantised checkpoints with random weights, made without torch, for tests to write and read."""

from __future__ import annotations

import numpy as np

from mobilevit_fast.config import TRANSFORMER_STAGES, get_config
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.weights import Grid, LayerFormat, QuantizedCheckpoint, layer_shapes
from mobilevit_fast.weights.byte_tensors import byte_tensors


def random_quantized(layer_format: LayerFormat, name: str = "mobilevit_xxs") -> QuantizedCheckpoint:
    """All layers in one format."""
    config = get_config(name, num_classes=3)
    rng = np.random.default_rng(0)
    weights, scales, biases, layers = {}, {}, {}, {}
    for layer, shape in layer_shapes(config).items():
        layers[layer] = layer_format
        biases[layer] = rng.normal(0, 1, shape[0]).astype(np.float32)
        if layer_format.is_integer:
            limit = 7 if layer_format.weights == "int4" else 127
            weights[layer] = rng.integers(-limit, limit + 1, shape).astype(np.int8)
            scales[layer] = rng.uniform(1e-3, 2e-3, layer_format.scale_shape(shape)).astype(np.float32)
        else:
            weights[layer] = rng.normal(0, 1, shape).astype(np.float16).astype(np.float32)
            if layer_format.weights == "bf16":
                weights[layer] = (weights[layer].view(np.uint32) >> 16 << 16).view(np.float32)
    norms = {
        f"stages.{stage}.1.norm.{part}": rng.normal(0, 1, dim).astype(np.float32)
        for stage, dim in zip(TRANSFORMER_STAGES, config.transformer_dims, strict=True)
        for part in ("weight", "bias")
    }
    names = byte_tensors(config, {layer: given.compute for layer, given in layers.items()})
    grids = {tensor: Grid(float(rng.uniform(0.01, 0.02)), int(rng.integers(256))) for tensor in names}
    return QuantizedCheckpoint(
        config=config,
        layers=layers,
        weights=weights,
        scales=scales,
        biases=biases,
        norms=norms,
        activations=grids,
        preprocessing=Preprocessing(),
        labels=("ant", "bee", "cat"),
        source="random",
        recipe="a test",
    )


def assert_same(a: QuantizedCheckpoint, b: QuantizedCheckpoint) -> None:
    """In everything but the source."""
    for part in ("config", "layers", "activations", "preprocessing", "labels", "recipe"):
        assert getattr(a, part) == getattr(b, part)
    for part in ("weights", "scales", "biases", "norms"):
        ours, theirs = getattr(a, part), getattr(b, part)
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            assert array.dtype == theirs[name].dtype
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)

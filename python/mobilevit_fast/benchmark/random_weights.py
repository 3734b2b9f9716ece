"""Weights and images for measuring and testing without a checkpoint: every layer matters to the answer."""

from __future__ import annotations

import math

import numpy as np

from mobilevit_fast.config import ModelConfig, get_config
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.weights import Checkpoint, parameter_shapes

_INPUT_POWER = 0.5
"""Mean square of every layer's input, as its weights assume it to give outputs of mean square 1: between that
of silu (0.36 for a standard normal) and that of a linear layer (1)."""


def random_tensors(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Parameters and BatchNorm statistics under this project's names, float32, in torch's layouts.

    Weights keep the power of a signal from layer to layer and norms are away from the identity, so that
    logits differ between images and each tensor changes them; frameworks' default initialisations do neither.
    """
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in parameter_shapes(config).items():
        if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "running_var")):
            values = rng.uniform(0.7, 1.3, shape)
        elif len(shape) == 1:
            values = rng.normal(0, 0.1, shape)
        else:
            values = rng.normal(0, 1 / math.sqrt(_INPUT_POWER * math.prod(shape[1:])), shape)
        tensors[name] = values.astype(np.float32)
    return tensors


def random_checkpoint(name: str, seed: int = 0) -> Checkpoint:
    """The variant `name` with random weights, the default preprocessing and numbered labels."""
    config = get_config(name)
    labels = tuple(f"LABEL_{index}" for index in range(config.num_classes))
    tensors = random_tensors(config, seed)
    return Checkpoint(config, tensors, Preprocessing(), labels, source=f"{name} with random weights")


def random_images(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """float32 [batch, 3, height, width] in 0..1: waves of random colours, directions and lengths.

    Noise would not do: after a global pool all of its images look alike.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    images = np.empty((batch, 3, height, width), dtype=np.float32)
    for image in images:
        for plane in image:
            frequency_y, frequency_x = rng.uniform(-0.4, 0.4, 2)
            wave = np.sin(frequency_y * y + frequency_x * x + rng.uniform(0, 2 * np.pi))
            plane[...] = rng.uniform(0.3, 0.7) + rng.uniform(0.1, 0.3) * wave
    return images

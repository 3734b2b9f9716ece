"""A small classifier with random weights, and images for it."""

from __future__ import annotations

import pytest
import torch

from mobilevit_fast.benchmark.random_weights import random_images, random_tensors
from mobilevit_fast.config import get_config
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.quantization.network import fold_network
from mobilevit_fast.weights import Checkpoint

SIZE = 64


@pytest.fixture(scope="session")
def checkpoint():
    config = get_config("mobilevit_xxs", num_classes=10, image_size=SIZE)
    labels = tuple(f"class {index}" for index in range(10))
    preprocessing = Preprocessing(shortest_edge=SIZE, crop_size=(SIZE, SIZE), channel_order="RGB")
    return Checkpoint(config, random_tensors(config), preprocessing, labels, source="random weights")


@pytest.fixture(scope="session")
def images():
    """float32 [32, 3, 64, 64]: as many as calibration wants."""
    return torch.from_numpy(random_images(32, SIZE, SIZE))


@pytest.fixture
def network(checkpoint):
    """The float network, for a test to change."""
    return fold_network(checkpoint)

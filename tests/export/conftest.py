"""A small classifier to export: every kind of layer, few of each."""

from __future__ import annotations

import pytest

from mobilevit_fast.benchmark.random_weights import random_tensors
from mobilevit_fast.config import get_config
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.weights import Checkpoint

SIZE = 96


@pytest.fixture(scope="session")
def checkpoint():
    config = get_config("mobilevit_xxs", num_classes=7, image_size=SIZE, transformer_layers=(1, 1, 1))
    rule = Preprocessing(
        shortest_edge=108, crop_size=(SIZE, SIZE), mean=(0.4, 0.45, 0.5), std=(0.2, 0.25, 0.3)
    )
    labels = ("ant", "bee", "cät", "dog", "eel", "fox", "gnu")
    return Checkpoint(config, random_tensors(config), rule, labels, source="random weights")

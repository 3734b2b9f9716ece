"""The network that is quantised computes what the model computes, as long as nothing is rounded."""

import pytest
import torch

from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.config import list_models
from mobilevit_fast.model import from_checkpoint
from mobilevit_fast.quantization.network import fold_network
from mobilevit_fast.weights.byte_tensors import byte_tensors


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("size", [(64, 64), (40, 72)])
def test_without_rounding_it_is_the_model(name, size):
    checkpoint = random_checkpoint(name)
    images = torch.from_numpy(random_images(2, *size))
    with torch.no_grad():
        expected = from_checkpoint(checkpoint).eval()(images)
        actual = fold_network(checkpoint)(images)
    assert (actual - expected).abs().max() < 1e-5 * expected.abs().max()


def test_its_points_are_the_tensors_that_an_artifact_names():
    network = fold_network(random_checkpoint("mobilevit_xxs"))
    formats = dict.fromkeys(network.layers, "int8")
    assert set(network.points) == set(byte_tensors(network.config, formats))

"""Quantised models on the native engine compute what the torch network that made them computes."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from mobilevit_fast import _C, DynamicInt8, HalfPrecision, Session, StaticInt8, WeightOnly
from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.lower_quantized import lower_quantized
from mobilevit_fast.quantization.network import fold_network
from mobilevit_fast.quantization.quantized_model import to_checkpoint
from mobilevit_fast.quantization.registry import apply_recipe

TABLES = _C.isa_tables("int8")
ROUNDED = 0.12
"""Of the largest logit: what bytes come to that fall on the other side of a tie. Float sums in norms, softmax
and the residual stream are added in another order, and each layer rounds what the one before passed on."""
FLOAT = 1e-4

FLOAT_TRANSFORMERS = ("stages.2.1.layers", "stages.3.1.layers.1.attention", "stages.4.1.layers.2.ffn")
FLOAT_CONVOLUTIONS = (
    "stem",
    "stages.1.1",
    "stages.2.1.fuse",
    "stages.3.1.local",
    "stages.3.1.project",
    "head",
)

RECIPES = {
    "static": (StaticInt8("minmax", equalize=False, correct_bias=False), ROUNDED),
    "static, levelled": (StaticInt8("minmax"), ROUNDED),
    "transformers float": (StaticInt8("minmax", keep=FLOAT_TRANSFORMERS), ROUNDED),
    "convolutions float": (StaticInt8("minmax", keep=FLOAT_CONVOLUTIONS), ROUNDED),
    "dynamic": (DynamicInt8(), ROUNDED),
    "weights in 8 bits": (WeightOnly(8), FLOAT),
    "weights in 4 bits, groups": (WeightOnly(4, group_size=32), FLOAT),
    "bfloat16": (HalfPrecision("bf16"), FLOAT),
}


@functools.cache
def quantized(name, recipe):
    network = fold_network(random_checkpoint(name))
    apply_recipe(RECIPES[recipe][0], network, torch.from_numpy(random_images(6, 64, 64, seed=3)))
    return network.eval(), to_checkpoint(network, recipe)


@functools.cache
def torch_logits(name, recipe, size):
    with torch.inference_mode():
        return quantized(name, recipe)[0](torch.from_numpy(random_images(3, *size))).numpy()


def assert_near(actual, expected, bound):
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() < bound * np.abs(expected).max()


def noise(actual, expected):
    """Root mean square of the difference, relative to that of what is expected."""
    return np.sqrt(np.square(actual - expected).sum() / np.square(expected).sum())


def check_everywhere(name, recipe, size):
    """Every table, one image and several, one thread and two, against torch."""
    images, expected = random_images(3, *size), torch_logits(name, recipe, size)
    for isa in TABLES:
        sessions = [Session(quantized(name, recipe)[1], isa=isa, threads=threads) for threads in (1, 2)]
        logits = sessions[0].run(images)
        assert_near(logits, expected, RECIPES[recipe][1])
        np.testing.assert_array_equal(sessions[1].run(images), logits)
        np.testing.assert_array_equal(sessions[1].run(images[2:]), logits[2:])


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("size", [(64, 64), (40, 72)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_format(recipe, size):
    check_everywhere("mobilevit_xxs", recipe, size)


@pytest.mark.parametrize("name", ["mobilevit_xs", "mobilevit_s"])
def test_every_variant(name):
    check_everywhere(name, "static", (96, 64))


@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"])
@pytest.mark.parametrize(
    "size", [(256, 256), (224, 224), (192, 320)], ids=lambda size: f"{size[0]}x{size[1]}"
)
def test_sizes_that_people_use(name, size):
    logits = Session(quantized(name, "static")[1]).run(random_images(3, *size))
    assert_near(logits, torch_logits(name, "static", size), ROUNDED)


@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"])
@pytest.mark.parametrize("table", TABLES)
def test_convolutions_are_equal_to_the_last_bit(name, table):
    network, checkpoint = quantized(name, "static")
    images = random_images(2, 48, 80)
    with torch.inference_mode():
        expected = network.forward_stages(torch.from_numpy(images))[1]
    outputs = ("stages.0", "stages.1")
    actual = _C.Engine(lower_quantized(checkpoint, outputs=outputs), table, precision="int8").run(images)
    for stage, output in enumerate(actual):
        np.testing.assert_array_equal(output, expected[stage].numpy())


@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"])
@pytest.mark.parametrize("table", TABLES)
def test_the_engine_adds_less_error_than_quantisation(name, table):
    """A wrong grid or bias would cost more; after the first transformer little has been rounded otherwise."""
    network, checkpoint = quantized(name, "static")
    images = random_images(3, 64, 64)
    with torch.inference_mode():
        exact = fold_network(random_checkpoint(name)).forward_stages(torch.from_numpy(images))
        expected = network.forward_stages(torch.from_numpy(images))
    plan = lower_quantized(checkpoint, outputs=("stages.2", "logits"))
    early, logits = _C.Engine(plan, table, precision="int8").run(images)
    assert noise(early, expected[1][2].numpy()) < 0.03
    assert noise(logits, expected[0].numpy()) < noise(expected[0].numpy(), exact[0].numpy())

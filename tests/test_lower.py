"""lower: a plan, run in float64 by tests/plan_interpreter.py, computes what the torch models compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mobilevit_fast.benchmark.random_weights import random_images, random_tensors
from mobilevit_fast.config import get_config, list_models
from mobilevit_fast.lower import OUTPUTS, convolution_algorithm, lower
from mobilevit_fast.model import MobileViT
from mobilevit_fast.weights.convert import to_transformers
from plan_interpreter import interpret

SIZES = [(64, 64), (96, 160), (33, 61)]  # the patch divides every map, some, none
FOLDING_ERROR = 1e-6  # weights are rounded to float32 once, after folding in float64


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def assert_inputs_matter(logits: np.ndarray) -> None:
    assert np.abs(logits[0] - logits[1]).max() > 1e-3 * np.abs(logits).max()


@pytest.fixture(scope="module", params=list_models())
def config(request):
    return get_config(request.param, num_classes=17)


@pytest.fixture(scope="module")
def tensors(config):
    return random_tensors(config)


@pytest.fixture(scope="module")
def plan(config, tensors):
    return lower(config, tensors)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_plan_equals_transformers(config, tensors, plan, size):
    transformers = pytest.importorskip("transformers")
    peer = transformers.MobileViTForImageClassification(
        transformers.MobileViTConfig(
            hidden_sizes=list(config.transformer_dims),
            neck_hidden_sizes=[config.stem_channels, *config.stage_channels, config.head_channels],
            expand_ratio=config.expand_ratio,
            num_labels=config.num_classes,
        )
    )
    state = {name: torch.tensor(array) for name, array in to_transformers(tensors, config).items()}
    missing = peer.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    images = random_images(2, *size)
    with torch.no_grad():
        expected = peer.eval().double()(torch.tensor(images).double()).logits.numpy()
    assert_inputs_matter(expected)
    assert relative_error(interpret(plan, images)[0], expected) < FOLDING_ERROR


def test_plan_equals_our_module_at_every_output(config, tensors):
    model = MobileViT(config)
    missing = model.load_state_dict(
        {name: torch.tensor(array) for name, array in tensors.items()}, strict=False
    )
    assert not missing.unexpected_keys
    model = model.eval().double()
    images = random_images(2, 64, 96)
    expected = {}
    with torch.no_grad():
        x = expected["stem"] = model.stem(torch.tensor(images).double())
        for index, stage in enumerate(model.stages):
            x = expected[f"stages.{index}"] = stage(x)
        expected["features"] = model.head(x)
        expected["pooled"] = expected["features"].mean(dim=(2, 3))
        expected["logits"] = model.classifier(expected["pooled"])
    assert_inputs_matter(expected["logits"].numpy())
    for name, value in zip(OUTPUTS, interpret(lower(config, tensors, outputs=OUTPUTS), images), strict=True):
        assert relative_error(value, expected[name].numpy()) < FOLDING_ERROR, name


def test_reversed_channels_are_folded_into_the_stem(config, tensors, plan):
    images = random_images(2, 64, 64)
    reversed_plan = lower(config, tensors, reverse_channels=True)
    expected, actual = interpret(plan, images)[0], interpret(reversed_plan, images[:, ::-1])[0]
    assert relative_error(actual, expected) < 1e-12
    assert relative_error(interpret(plan, images[:, ::-1])[0], expected) > 1e-3


def test_weights_are_contiguous_float32(plan):
    arrays = []

    def collect(value):
        if isinstance(value, dict):
            for entry in value.values():
                collect(entry)
        elif isinstance(value, np.ndarray):
            arrays.append(value)

    for step in plan["steps"]:
        collect(step)
    assert len(arrays) > 100
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays)


def test_a_plan_without_logits_needs_no_classifier(config, tensors):
    backbone = {name: array for name, array in tensors.items() if not name.startswith("classifier.")}
    plan = lower(config, backbone, outputs=("features", "pooled"))
    features, pooled = interpret(plan, random_images(1, 64, 64))
    assert features.shape == (1, config.head_channels, 2, 2)
    assert pooled.shape == (1, config.head_channels)


def test_any_float_type_is_taken():
    config = get_config("mobilevit_xxs", num_classes=3)
    tensors = random_tensors(config)
    halves = {name: array.astype(np.float16) for name, array in tensors.items()}
    images = random_images(2, 32, 32)
    exact = lower(config, {name: array.astype(np.float64) for name, array in halves.items()})
    np.testing.assert_array_equal(interpret(lower(config, halves), images)[0], interpret(exact, images)[0])


def test_heads_follow_the_config():
    config = get_config("mobilevit_xxs", num_classes=3, num_heads=2)
    plan = lower(config, random_tensors(config))
    assert {step["heads"] for step in plan["steps"] if step["kind"] == "attention"} == {2}


@pytest.mark.parametrize(
    ("map_size", "algorithm"), [(2, "direct"), (3, "winograd2"), (11, "winograd2"), (12, "winograd4")]
)
def test_convolution_algorithm(map_size, algorithm):
    assert convolution_algorithm(map_size, "fp32") == algorithm


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_sixteen_bits_keep_to_the_small_winograd_tile(precision):
    assert convolution_algorithm(32, precision) == "winograd2"


def test_a_missing_tensor_is_named():
    config = get_config("mobilevit_xxs")
    tensors = random_tensors(config)
    del tensors["stages.3.1.layers.2.ffn.down.bias"]
    with pytest.raises(ValueError, match=r"stages\.3\.1\.layers\.2\.ffn\.down\.bias of shape \[80\]"):
        lower(config, tensors)


def test_a_misshapen_tensor_is_named():
    config = get_config("mobilevit_xxs")
    tensors = random_tensors(config)
    tensors["head.conv.weight"] = tensors["head.conv.weight"][:, :-1]
    with pytest.raises(ValueError, match=r"head\.conv\.weight of shape .*, got \[320, 79, 1, 1\]"):
        lower(config, tensors)


@pytest.mark.parametrize("outputs", [(), ("logits", "scores")])
def test_unknown_outputs_are_refused(outputs):
    config = get_config("mobilevit_xxs")
    with pytest.raises(ValueError, match="outputs must name some of"):
        lower(config, {}, outputs=outputs)


@pytest.mark.parametrize("precision", ["half", "int8", "double"])
def test_an_unavailable_precision_is_refused(precision):
    with pytest.raises(ValueError, match=f"precision '{precision}' is not available"):
        lower(get_config("mobilevit_xxs"), {}, precision=precision)

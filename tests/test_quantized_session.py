"""Session on quantised models, without torch: files, formats, threads, kernel tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mobilevit_fast import _C, Session
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.lower import OUTPUTS, lower
from mobilevit_fast.lower_quantized import lower_quantized
from mobilevit_fast.weights import LayerFormat, layer_shapes, save_quantized

ROUNDED = 0.12
"""Noise that comes of bytes which another order of float sums, in norms and softmax, rounds differently."""

FLOAT = LayerFormat("int8", "float")
DYNAMIC = LayerFormat("int8", "dynamic")


@pytest.fixture(scope="module")
def checkpoint():
    return random_quantized("mobilevit_xxs")


def noise(actual, expected):
    """Root mean square of the difference, relative to that of what is expected."""
    return float(np.sqrt(np.square(actual - expected).sum() / np.square(expected).sum()))


def test_bytes_are_equal_on_every_table_until_floats_come(checkpoint):
    plan = lower_quantized(checkpoint, outputs=OUTPUTS)
    first, *others = (_C.Engine(plan, isa, precision="int8") for isa in _C.isa_tables("int8"))
    images = random_images(2, 33, 61)
    for other in others:
        for name, expected, actual in zip(OUTPUTS, first.run(images), other.run(images), strict=True):
            if name in ("stem", "stages.0", "stages.1"):
                np.testing.assert_array_equal(actual, expected, err_msg=f"{name} on {other.isa}")
            else:
                assert noise(actual, expected) < ROUNDED, (name, other.isa)


@pytest.mark.parametrize("table", _C.isa_tables("int8"))
@pytest.mark.parametrize("size", [(64, 64), (33, 61), (1, 1)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_thread_count_gives_the_same_numbers(checkpoint, table, size):
    images = random_images(3, *size)
    alone = Session(checkpoint, isa=table, threads=1)
    expected = np.concatenate([alone.run(image[None]) for image in images])
    for threads in (2, 3):
        np.testing.assert_array_equal(Session(checkpoint, isa=table, threads=threads).run(images), expected)


@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"])
def test_weights_in_integers_alone_change_nothing_but_the_weights(name):
    formats = dict.fromkeys(layer_shapes(random_checkpoint(name).config), FLOAT)
    session = Session(random_quantized(name, formats=formats))
    images = random_images(2, 64, 96)
    assert session.precision == "fp32"
    assert noise(session.run(images), Session(random_checkpoint(name)).run(images)) < 0.1


def test_formats_may_be_mixed_layer_by_layer(checkpoint):
    images = random_images(2, 48, 80)
    expected = Session(checkpoint).run(images)
    for names, layer_format, kinds in (
        (("stem",), FLOAT, {"stem", "quantize"}),
        (("stages.2.1.layers.0.ffn.up", "stages.2.1.layers.0.ffn.down"), FLOAT, {"ffn"}),
        (("stages.3.1.fuse",), FLOAT, {"conv3x3", "dequantize"}),
        (("stages.2.1.project",), DYNAMIC, {"layer_norm"}),
        (("classifier",), FLOAT, {"linear"}),
    ):
        mixed = random_quantized("mobilevit_xxs", formats=dict.fromkeys(names, layer_format))
        session = Session(mixed)
        assert session.precision == "mixed"
        assert kinds <= {step.kind for step in session.profile(repeats=1, size=(48, 80))}
        assert noise(session.run(images), expected) < 0.2


def test_steps_between_bytes_and_floats_come_only_where_the_two_meet(checkpoint):
    plan = lower_quantized(checkpoint)
    assert not {"quantize", "dequantize"} & {step["kind"] for step in plan["steps"]}


def test_a_file_runs_as_the_checkpoint_that_it_holds(checkpoint, tmp_path):
    path = tmp_path / "small.safetensors"
    save_quantized(path, checkpoint)
    images = random_images(2, 40, 56)
    session = Session(path)
    assert session.precision == "int8"
    assert session.isa == _C.isa_tables("int8")[-1]
    assert repr(session).startswith(f"Session({str(path)!r}, precision='int8'")
    np.testing.assert_array_equal(session.run(images), Session(checkpoint).run(images))
    [predictions] = session.classify(np.zeros((40, 56, 3), np.uint8), top_k=3)
    assert len(predictions) == 3


def test_it_takes_a_quarter_of_the_memory(checkpoint):
    small, large = Session(checkpoint).memory, Session(random_checkpoint("mobilevit_xxs")).memory
    assert small.weights < 0.45 * large.weights
    assert small.arena < 0.6 * large.arena


def test_more_tokens_than_32_bits_can_add_up_are_refused(checkpoint):
    session = Session(checkpoint)
    assert session.memory_for(4096, 4096).arena > 0
    with pytest.raises(ValueError, match=r"4096x4112 .* its 65792 tokens may overflow"):
        session.memory_for(4096, 4112)


def test_a_profile_counts_the_same_work(checkpoint):
    steps = Session(checkpoint).profile(repeats=1, size=(64, 64))
    floats = Session(random_checkpoint("mobilevit_xxs")).profile(repeats=1, size=(64, 64))
    assert sum(step.macs for step in steps) == sum(step.macs for step in floats)
    assert all(step.ms > 0 and step.bytes > 0 for step in steps)


def test_channels_may_come_in_the_other_order(checkpoint):
    order = "BGR" if checkpoint.preprocessing.channel_order == "RGB" else "RGB"
    images = random_images(2, 32, 32)
    turned = Session(checkpoint, channel_order=order)
    np.testing.assert_array_equal(turned.run(images[:, ::-1]), Session(checkpoint).run(images))


def test_another_precision_is_refused_or_taken_where_all_layers_are_float(checkpoint):
    with pytest.raises(ValueError, match="is quantised and computes in int8; leave out precision='fp32'"):
        Session(checkpoint, precision="fp32")
    formats = dict.fromkeys(checkpoint.layers, FLOAT)
    floats = random_quantized("mobilevit_xxs", formats=formats)
    if _C.isa_tables("bf16"):
        assert Session(floats, precision="bf16").precision == "bf16"
    with pytest.raises(ValueError, match="'fp8' is not available"):
        Session(floats, precision="fp8")


@pytest.mark.parametrize("layer", ["stem", "stages.1.0.expand", "stages.2.1.local"])
def test_only_linear_layers_compute_dynamically(layer):
    prefix = layer.removesuffix("expand")
    group = (
        (layer,) if prefix == layer else tuple(prefix + part for part in ("expand", "depthwise", "project"))
    )
    with pytest.raises(ValueError, match=f"{layer} cannot compute dynamically: only linear layers do"):
        Session(random_quantized("mobilevit_xxs", formats=dict.fromkeys(group, DYNAMIC)))


@pytest.mark.parametrize(
    "name", ["stages.2.1.local", "stages.2.1.layers.0.ffn.down", "stages.2.1.layers.0.ffn.up"]
)
def test_a_bias_that_no_sum_could_hold_is_added_behind_it(checkpoint, name):
    """Weights of nearly zero have a scale so small that their bias is a huge number of its steps."""
    scales, biases = dict(checkpoint.scales), dict(checkpoint.biases)
    scales[name], biases[name] = scales[name].copy(), biases[name].copy()
    scales[name][3], biases[name][3] = 1e-20, 1.5
    odd = replace(checkpoint, scales=scales, biases=biases)
    weights = dict(checkpoint.weights)
    weights[name] = weights[name].copy()
    weights[name][3] = 0
    scales = {**scales, name: scales[name].copy()}
    scales[name][3] = 2.0**-20  # the bias is a whole number of steps but for a millionth
    plain = replace(odd, weights=weights, scales=scales)
    images = random_images(1, 32, 32)
    expected = Session(plain).run(images)
    np.testing.assert_allclose(Session(odd).run(images), expected, atol=0.01 * np.abs(expected).max())


def test_plans_of_float_checkpoints_have_no_steps_on_bytes():
    checkpoint = random_checkpoint("mobilevit_xxs")
    plan = lower(checkpoint.config, checkpoint.tensors)
    assert not any("int8" in step["kind"] or "quantize" in step["kind"] for step in plan["steps"])

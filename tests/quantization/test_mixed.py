"""Bits for each layer, under a budget."""

import numpy as np
import pytest
from PIL import Image

from mobilevit_fast import Dataset, Mixed, quantize
from mobilevit_fast.quantization import mixed
from mobilevit_fast.quantization.bit_choice import Costs, ladder
from mobilevit_fast.quantization.calibration import run
from mobilevit_fast.weights.byte_tensors import integer_groups


def costs():
    """Layers a, b, c of 1000, 1000, 100 weights; b and c compute together."""
    table = {("a", 8): 0.1, ("a", 4): 1.0, ("b", 8): 0.2, ("b", 4): 9.0, ("c", 8): 0.0, ("c", 4): 0.5}
    return Costs(table, {"a": 1000, "b": 1000, "c": 100}, (("a",), ("b", "c")))


def test_a_ladder_goes_down_by_the_least_divergence_for_each_byte():
    rungs = ladder(costs(), dict.fromkeys("abc", (4, 8, 16)))
    assert rungs == [
        {"a": 16, "b": 16, "c": 16},
        {"a": 8, "b": 16, "c": 16},
        {"a": 8, "b": 8, "c": 8},
        {"a": 4, "b": 8, "c": 8},
        {"a": 4, "b": 8, "c": 4},
        {"a": 4, "b": 4, "c": 4},
    ]


def test_a_ladder_gives_no_layer_what_it_may_not_have():
    rungs = ladder(costs(), {"a": (8,), "b": (4, 8), "c": (8, 16)})
    assert {rung["a"] for rung in rungs} == {8}
    assert {rung["c"] for rung in rungs} <= {8, 16}


pytestmark = pytest.mark.filterwarnings("ignore:only 8 calibration images")


@pytest.fixture(scope="module")
def images(images):
    """Few, for each layer runs on all of them."""
    return images[:8]


@pytest.fixture(scope="module", autouse=True)
def layers_are_measured_once():
    """All tests here ask for the same model on the same images."""
    measure, measured = mixed._costs, {}

    def once(network, bits, *arguments):
        if bits not in measured:
            measured[bits] = measure(network, bits, *arguments)
        return measured[bits]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixed, "_costs", once)
        yield


@pytest.fixture(scope="module")
def sixth(checkpoint, images):
    return quantize(checkpoint, Mixed(), calibration=images)


def bits(report):
    widths = {"int4": 4, "int8": 8, "fp16": 16}
    return {name: widths[layer.weights] for name, layer in report.layers.items()}


def test_without_a_bound_it_is_a_sixth(sixth, tmp_path):
    sixth.save(tmp_path / "model.safetensors")
    assert sixth.report.float_bytes / 6.6 < (tmp_path / "model.safetensors").stat().st_size
    assert (tmp_path / "model.safetensors").stat().st_size <= sixth.report.float_bytes / 6


def test_it_says_what_it_chose(sixth):
    chosen = bits(sixth.report)
    notes = "\n".join(sixth.report.notes)
    for width in set(chosen.values()):
        assert f"{list(chosen.values()).count(width)} layers with {width} bits" in notes


def test_what_computes_together_is_float_together(sixth):
    chosen = bits(sixth.report)
    for layers, _ in integer_groups(sixth.network.config):
        assert len({chosen[layer] == 16 for layer in layers}) == 1


def test_only_the_given_bits_are_used(checkpoint, images):
    report = quantize(checkpoint, Mixed(max_bytes=10**7, bits=(4, 8)), calibration=images).report
    assert set(bits(report).values()) == {8}


def test_max_bytes_is_kept_and_nearly_used(checkpoint, images):
    budget = 800_000
    report = quantize(checkpoint, Mixed(max_bytes=budget), calibration=images).report
    assert 0.9 * budget < report.bytes <= budget


def test_a_budget_that_cannot_be_met_is_refused(checkpoint, images):
    with pytest.raises(ValueError, match=r"at most 1000 bytes; with bits \(4, 8, 16\) it has at least"):
        quantize(checkpoint, Mixed(max_bytes=1000), calibration=images)


def as_pictures(images):
    return [Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)) for image in images]


def test_max_loss_is_kept_on_validation_images(checkpoint, images, network):
    answers = run(network, images).argmax(1).numpy()
    data = Dataset(as_pictures(images), answers, None, "waves")
    model = quantize(checkpoint, Mixed(max_loss=0.1), calibration=images, validation=data)
    agreement = (model(images).argmax(1).numpy() == answers).mean()
    assert agreement >= 0.85
    assert model.report.ratio > 3.5
    assert "within the allowed 10.00%" in str(model.report)


def test_max_loss_without_labels_counts_changed_answers(checkpoint, images, network):
    model = quantize(checkpoint, Mixed(max_loss=0.1), calibration=images)
    changed = (model(images).argmax(1) != run(network, images).argmax(1)).double().mean()
    assert changed <= 0.1


def test_both_bounds_tell_when_the_loss_is_greater(checkpoint, images, monkeypatch):
    monkeypatch.setattr("mobilevit_fast.quantization.mixed.changed_answers", lambda *_: 0.3)
    with pytest.warns(UserWarning, match="max_loss is not kept: top-1 falls by 30.00%"):
        model = quantize(checkpoint, Mixed(max_loss=0.0, max_bytes=580_000), calibration=images)
    assert model.report.bytes <= 580_000
    assert "top-1 falls by 30.00%, more than the allowed 0.00%" in str(model.report)

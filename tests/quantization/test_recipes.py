"""What each recipe makes of a model: its answers, its formats, its file."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mobilevit_fast import (
    DynamicInt8,
    HalfPrecision,
    Mixed,
    Session,
    StaticInt8,
    WeightOnly,
    quantize,
)
from mobilevit_fast.quantization.calibration import run
from mobilevit_fast.quantization.sensitivity import compare
from mobilevit_fast.weights import load_model
from quantized_checkpoints import assert_same

RECIPES = {
    # Recipe -> least ratio of signal to noise in decibels, and how many times smaller than float32.
    "fp16": (HalfPrecision(), 55, 1.95),
    "bf16": (HalfPrecision("bf16"), 35, 1.95),
    "weight-only 8": (WeightOnly(), 30, 3.6),
    "weight-only 4": (WeightOnly(4), 5, 6.5),
    "weight-only 4 in groups": (WeightOnly(4, group_size=32), 6, 5.5),
    "dynamic": (DynamicInt8(), 28, 3.6),
    "static": (StaticInt8(), 20, 3.6),
    "static, attention kept": (StaticInt8(keep=("stages.4.1.layers.0.attention",)), 20, 3.4),
    "static, minmax": (StaticInt8("minmax", equalize=False, correct_bias=False), 12, 3.6),
}


@pytest.fixture(scope="module", params=RECIPES)
def case(request, checkpoint, images):
    recipe, least_sqnr, least_ratio = RECIPES[request.param]
    return quantize(checkpoint, recipe, calibration=images), least_sqnr, least_ratio


def test_answers_stay_near_the_float_ones(case, checkpoint, images, network):
    model, least_sqnr, _ = case
    difference = compare(model(images), run(network, images), layer="all", bits=8, parameters=0)
    assert difference.sqnr > least_sqnr


def test_the_file_is_as_small_as_the_report_says_and_holds_the_same(case, tmp_path):
    model, _, least_ratio = case
    path = tmp_path / "model.safetensors"
    model.save(path)
    report = model.report
    assert path.stat().st_size == report.bytes
    assert report.ratio > least_ratio
    assert f"{report.bytes:,} bytes" in str(report)
    assert_same(load_model(path), model.checkpoint())


def test_static_is_bytes_throughout_but_for_what_is_kept(checkpoint, images):
    model = quantize(checkpoint, StaticInt8(keep=("stages.4.1.layers.0.attention",)), calibration=images)
    kept = {name for name, layer in model.report.layers.items() if layer.compute == "float"}
    attention = "stages.4.1.layers.0.attention"
    assert kept == {f"{attention}.qkv", f"{attention}.projection"}
    assert {model.report.layers[name].weights for name in kept} == {"fp16"}


def test_four_bits_spare_what_is_delicate(checkpoint, images):
    layers = quantize(checkpoint, WeightOnly(4), calibration=images).report.layers
    eight = {name for name, layer in layers.items() if layer.weights == "int8"}
    assert eight == {name for name in layers if name == "stem" or name.endswith("depthwise")}


def test_calibration_makes_four_bits_better(checkpoint, images, network):
    expected = run(network, images)
    blind, fitted = (
        compare(quantize(checkpoint, WeightOnly(4), calibration=given)(images), expected, **fields)
        for given, fields in ((None, {}), (images, {}))
        for fields in [{"layer": "all", "bits": 4, "parameters": 0}]
    )
    assert fitted.divergence < 0.7 * blind.divergence


def test_the_bias_of_a_row_of_zeros_is_kept(checkpoint, images):
    weight, bias = (checkpoint.tensors[f"classifier.{part}"].copy() for part in ("weight", "bias"))
    weight[0], bias[0] = 0, 0.021
    tensors = checkpoint.tensors | {"classifier.weight": weight, "classifier.bias": bias}
    model = quantize(replace(checkpoint, tensors=tensors), StaticInt8(), calibration=images)
    logits = Session(model.checkpoint()).run(images[:2].numpy())
    assert logits[:, 0] == pytest.approx(0.021, abs=1e-4)


def test_quantising_leaves_the_model_alone(checkpoint, images):
    from mobilevit_fast.model import from_checkpoint

    model = from_checkpoint(checkpoint).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quantize(model, StaticInt8(), calibration=images)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("recipe", [StaticInt8(), Mixed()], ids=["static", "mixed"])
def test_grids_need_calibration(checkpoint, recipe):
    with pytest.raises(ValueError, match="needs calibration images"):
        quantize(checkpoint, recipe)


def test_numpys_whole_numbers_are_whole_numbers():
    assert WeightOnly(np.int64(4), np.int32(32)) == WeightOnly(4, 32)
    assert type(Mixed(max_bytes=np.int64(9)).max_bytes) is int
    with pytest.raises(TypeError, match="a recipe must be one of"):
        quantize("nothing is read", StaticInt8, calibration="nor here")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: HalfPrecision("fp8"), ValueError, "dtype must be one of fp16, bf16, got 'fp8'"),
        (lambda: WeightOnly(3), ValueError, "bits must be one of 8, 4, got 3"),
        (lambda: WeightOnly(4, group_size=-1), ValueError, "group_size must be from 0 to 1048576, got -1"),
        (lambda: WeightOnly(4, group_size=10**30), ValueError, "group_size must be from 0 to 1048576"),
        (lambda: WeightOnly(4.0), TypeError, "bits must be a whole number, got 4.0"),
        (lambda: StaticInt8("best"), ValueError, "observer must be one of minmax, percentile, mse"),
        (lambda: StaticInt8(3), TypeError, "or an observer, got 3"),
        (lambda: Mixed(bits=(2, 8)), ValueError, "bits must be some of 4, 8 and 16"),
        (lambda: StaticInt8(keep="stem"), TypeError, r"keep must be a tuple, such as \('stem',\)"),
        (lambda: StaticInt8(keep=(3,)), TypeError, "keep must hold names of layers"),
        (lambda: Mixed(bits=8), TypeError, r"bits must be a tuple, such as \(8,\), got 8"),
        (lambda: Mixed(max_loss="0.1"), ValueError, "max_loss must be a share of 1, such as 0.01, got '0.1'"),
        (lambda: Mixed(max_loss=1.5), ValueError, "max_loss must be a share of 1"),
        (lambda: Mixed(max_bytes="6 MB"), TypeError, "max_bytes must be a whole number"),
    ],
)
def test_recipes_refuse_what_they_cannot_do(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_keep_has_to_name_a_layer(checkpoint, images):
    with pytest.raises(ValueError, match="keep names 'head2', which is no layer"):
        quantize(checkpoint, StaticInt8(keep=("head2",)), calibration=images)


def test_a_recipe_has_to_be_one(checkpoint):
    with pytest.raises(TypeError, match=r"a recipe must be one of StaticInt8\(\)"):
        quantize(checkpoint, "static")


def test_calibration_tells_its_progress(checkpoint, images):
    seen = []

    def progress(steps, total, title):
        seen.append((total, title))
        return steps

    quantize(checkpoint, StaticInt8(), calibration=images[:2].repeat(16, 1, 1, 1), progress=progress)
    assert seen == [(16, "channels"), (16, "ranges"), (16, "histograms")]

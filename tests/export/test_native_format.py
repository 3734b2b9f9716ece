"""Format native: one file for the C library and for Session, of every kind of source."""

from __future__ import annotations

import numpy as np
import pytest

import mobilevit_fast as mvf
from mobilevit_fast import _C
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.c_library import CModel
from mobilevit_fast.export import export
from mobilevit_fast.weights import load_runnable, save_native

RECIPES = {
    "int8": mvf.StaticInt8(),
    "mixed": mvf.DynamicInt8(),
    "fp32": mvf.WeightOnly(4),
}
"""What a model computes in -> a recipe that makes such a model."""


def assert_all_answer_alike(path, session):
    images = random_images(2, 96, 96)
    expected = session.run(images)
    library, again = CModel(path), mvf.Session(path)
    assert library.precision == again.precision == session.precision
    assert library.labels == again.labels == session.labels
    np.testing.assert_array_equal(library.run(images), expected)
    np.testing.assert_array_equal(again.run(images), expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_float_model(tmp_path, checkpoint, precision):
    if not _C.isa_tables(precision):
        pytest.skip(f"this CPU has no kernels for {precision}")
    path = tmp_path / "model.safetensors"
    report = export(checkpoint, "native", path, precision=precision)
    assert report.passed
    assert [check.batch for check in report.checks] == [1, 8, 1]
    assert report.checks[-1].size == (125, 125)
    assert_all_answer_alike(path, mvf.Session(checkpoint, precision=precision))


@pytest.mark.parametrize("precision", RECIPES)
def test_a_quantised_model(tmp_path, checkpoint, precision):
    path = tmp_path / "model.safetensors"
    calibration = random_images(32, 96, 96) if precision == "int8" else None
    quantized = mvf.quantize(checkpoint, RECIPES[precision], calibration=calibration)
    report = export(quantized, "native", path)
    assert report.max_relative_error == 0
    assert_all_answer_alike(path, mvf.Session(quantized.checkpoint()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (128, 128)}, "size: it runs images of any size"),
        ({"batches": (1,)}, "batches: it takes any number"),
        ({"raw_pixels": True}, "raw_pixels: mvf_run_rgb takes them"),
        ({"softmax": True}, "softmax: it answers with logits"),
        ({"precision": "fp16"}, "has no precision 'fp16'; it has fp32, bf16, int8"),
        ({"keep_custom_ops": True}, "holds standard operators only"),
    ],
)
def test_options_without_use_are_refused(tmp_path, checkpoint, options, message):
    with pytest.raises(ValueError, match=message):
        export(checkpoint, "native", tmp_path / "a.safetensors", **options)
    assert not list(tmp_path.iterdir())


def test_an_export_is_no_source(tmp_path, checkpoint):
    export(checkpoint, "native", tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="made to run; this needs the checkpoint"):
        export(tmp_path / "a.safetensors", "native", tmp_path / "b.safetensors")


@pytest.mark.parametrize("stride", [3, 1.5, "1"])
def test_a_plan_that_cannot_run_names_the_file(tmp_path, checkpoint, stride):
    path = tmp_path / "a.safetensors"
    export(checkpoint, "native", path)
    model = load_runnable(path)
    model.plan["steps"][0]["conv"]["stride"] = stride
    save_native(path, model, (96, 96))
    with pytest.raises(ValueError, match=r"a\.safetensors': plan\['steps'\]\[0\].*stride"):
        mvf.Session(path)
    with pytest.raises(ValueError, match="threads must be"):
        mvf.Session(path, threads=0)

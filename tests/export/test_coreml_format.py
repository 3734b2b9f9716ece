"""Core ML: what the packages hold, and that they answer as a session does."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.export import export
from mobilevit_fast.export.job import Job, quietly
from mobilevit_fast.export.options import Options

pytest.importorskip("torch")
with quietly():
    pytest.importorskip("coremltools")
    from mobilevit_fast.export.coreml_format import class_labels
    from mobilevit_fast.export.mil_evaluator import OPERATIONS, MilEvaluator


def evaluator(path):
    with quietly():
        return MilEvaluator(path)


def kinds(evaluated):
    return Counter(operation.op_type for operation in evaluated._main.operations)


def test_any_number_of_images_and_what_travels(tmp_path, checkpoint):
    path = tmp_path / "model.mlpackage"
    # Stages whose maps are odd, so that blocks resize them.
    report = export(checkpoint, "coreml", path, dynamic_batch=True, size=(112, 96))
    assert report.passed
    assert [check.batch for check in report.checks] == [1, 8]
    spec = evaluator(path).spec
    facts = spec.description.metadata.userDefined
    assert tuple(json.loads(facts["labels"])) == checkpoint.labels
    assert mvf.Preprocessing.from_dict(json.loads(facts["preprocessing"])) == checkpoint.preprocessing
    [given] = spec.description.input
    [answer] = spec.description.output
    assert (given.name, answer.name) == ("pixel_values", "logits")
    assert given.type.multiArrayType.shapeRange.sizeRanges[0].upperBound == 64


def test_an_image_in_and_a_label_out(tmp_path, checkpoint):
    path = tmp_path / "model.mlpackage"
    rule = replace(checkpoint.preprocessing, channel_order="BGR", std=(0.25,) * 3)
    source = replace(checkpoint, preprocessing=rule)
    options = {"raw_pixels": True, "softmax": True, "precision": "fp16"}
    assert export(source, "coreml", path, **options).passed
    description = evaluator(path).spec.description
    [given] = description.input
    image = given.type.imageType
    assert (image.width, image.height, image.ColorSpace.Name(image.colorSpace)) == (96, 96, "BGR")
    assert description.predictedFeatureName == "classLabel"
    parameters = sum(array.size for array in checkpoint.tensors.values())
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) < 2.6 * parameters
    # A scale for each channel is beyond an image of Core ML.
    assert export(checkpoint, "coreml", path, force=True, **options).passed
    image = evaluator(path).spec.description.input[0].type.imageType
    assert image.ColorSpace.Name(image.colorSpace) == "RGB"


def test_static_integers_on_our_scales(tmp_path, checkpoint):
    images = random_images(32, 96, 96)
    source = mvf.quantize(checkpoint, mvf.StaticInt8(), calibration=images).checkpoint()
    path = tmp_path / "model.mlpackage"
    report = export(source, "coreml", path, batches=(1, 2))
    assert report.passed
    assert [check.batch for check in report.checks] == [1, 2]
    found = evaluator(path)
    count = kinds(found)
    assert count["quantize"] >= len(source.activations)
    weights = [o for o in found._main.operations if o.op_type.startswith("constexpr_")]
    assert len(weights) >= len(source.weights)
    scales = {
        float(operation.inputs["scale"].val)
        for operation in found._main.operations
        if operation.op_type == "quantize"
    }
    ours = {float(np.float16(grid.scale)) for grid in source.activations.values()}
    assert scales == ours
    parameters = sum(array.size for array in checkpoint.tensors.values())
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) < 1.9 * parameters


def test_integers_as_weights_alone(tmp_path, checkpoint):
    path = tmp_path / "model.mlpackage"
    assert export(mvf.quantize(checkpoint, mvf.WeightOnly(8)), "coreml", path).passed
    count = kinds(evaluator(path))
    assert "quantize" not in count
    assert count["constexpr_affine_dequantize"] > 40


def test_palettes(tmp_path, checkpoint):
    path = tmp_path / "model.mlpackage"
    report = export(checkpoint, "coreml", path, precision="fp16", palette="6")
    assert report.passed
    assert report.bound == 0.2
    assert kinds(evaluator(path))["constexpr_lut_to_dense"] > 20
    parameters = sum(array.size for array in checkpoint.tensors.values())
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) < 1.6 * parameters


def test_palettes_are_not_for_integers(tmp_path, checkpoint):
    with pytest.raises(ValueError, match="is quantised; palettes are for float models"):
        export(mvf.quantize(checkpoint, mvf.WeightOnly(8)), "coreml", tmp_path / "a.mlpackage", palette="8")
    assert list(tmp_path.iterdir()) == []


def test_labels_that_several_classes_share(checkpoint):
    source = replace(checkpoint, labels=("ant", "bee", "ant", "dog", "eel", "fox", "gnu"))
    job = Job(source, "coreml", Options("fp32", (96, 96)))
    assert class_labels(job) == ["ant (0)", "bee", "ant (2)", "dog", "eel", "fox", "gnu"]


def test_an_operation_that_the_evaluator_lacks_is_named(tmp_path, checkpoint, monkeypatch):
    path = tmp_path / "model.mlpackage"
    monkeypatch.delitem(OPERATIONS, "silu")
    with pytest.raises(NotImplementedError, match="no operation 'silu' of Core ML"):
        export(checkpoint, "coreml", path)

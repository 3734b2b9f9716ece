"""ONNX files run in stock onnxruntime and answer as a session does."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.export import export
from mobilevit_fast.export.pictures import made_pictures

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

TOLERANCE = 1e-5


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    return session.run(None, {given.name: images})[0]


def error(found, expected):
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", mvf.list_models())
def test_every_variant_at_a_size_that_is_not_square(tmp_path, name):
    checkpoint, path = random_checkpoint(name), tmp_path / "model.onnx"
    report = export(checkpoint, "onnx", path, size=(64, 96))
    assert report.passed
    assert report.top1_agreement == 1
    session = mvf.Session(checkpoint)
    for batch in (1, 3, 8):
        images = random_images(batch, 64, 96)
        expected = session.run(images)
        assert np.ptp(expected, axis=0).max() > 0.01 * np.abs(expected).max() or batch == 1
        assert error(run(path, images), expected) < TOLERANCE


def test_one_file_takes_every_size(tmp_path, checkpoint):
    path = tmp_path / "model.onnx"
    report = export(checkpoint, "onnx", path, size=(192, 192), dynamic_size=True)
    assert len(report.checks) == 4
    session = mvf.Session(checkpoint)
    for batch, height, width in ((1, 192, 192), (2, 224, 224), (1, 192, 384), (3, 320, 288), (1, 96, 128)):
        images = random_images(batch, height, width)
        assert error(run(path, images), session.run(images)) < TOLERANCE


def test_what_travels_with_the_file(tmp_path, checkpoint):
    path = tmp_path / "model.onnx"
    report = export(checkpoint, "onnx", path, dynamic_batch=False)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert tuple(json.loads(facts["labels"])) == checkpoint.labels
    assert mvf.Preprocessing.from_dict(json.loads(facts["preprocessing"])) == checkpoint.preprocessing
    assert facts["model"] == "mobilevit_xxs"
    assert next(entry.version for entry in model.opset_import if not entry.domain) >= 18
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    [given] = model.graph.input
    assert [dim.dim_value for dim in given.type.tensor_type.shape.dim] == [1, 3, 96, 96]
    assert json.loads((tmp_path / "model.onnx.json").read_text()) == json.loads(json.dumps(report.to_data()))
    assert report.bytes == path.stat().st_size


def test_bytes_in_and_probabilities_out(tmp_path, checkpoint):
    path = tmp_path / "model.onnx"
    assert export(checkpoint, "onnx", path, raw_pixels=True, softmax=True).passed
    pictures = made_pictures(3, (96, 96), checkpoint.preprocessing)
    answers = run(path, pictures.raw)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    logits = mvf.Session(checkpoint).run(pictures.pixels).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert error(answers, expected) < TOLERANCE


def test_half_precision(tmp_path, checkpoint):
    full, half = tmp_path / "full.onnx", tmp_path / "half.onnx"
    export(checkpoint, "onnx", full)
    report = export(checkpoint, "onnx", half, precision="fp16")
    assert 1e-6 < report.max_relative_error < 5e-3
    assert half.stat().st_size < 0.6 * full.stat().st_size
    assert run(half, random_images(2, 96, 96)).dtype == np.float32

"""SavedModels: dynamic batch and size, assets, and the signature that takes files of images."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.export import export
from mobilevit_fast.export.pictures import made_pictures
from mobilevit_fast.image import Preprocessing, preprocess

tf = pytest.importorskip("tensorflow")

from mobilevit_fast.export.tensorflow_images import decode_images, normalise  # noqa: E402
from mobilevit_fast.export.tensorflow_program import TensorflowProgram  # noqa: E402

TOLERANCE = 1e-5


def error(found, expected):
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


def photograph(size, kind, seed=0):
    """A file, with the smooth shades of a photograph: of noise any two resizers make different things."""
    y, x = np.mgrid[0 : 1 : size[0] * 1j, 0 : 1 : size[1] * 1j]
    planes = [127 + 120 * np.sin(5 * (seed + 1) * (x * a + y * (1 - a)) + a) for a in (0.2, 0.5, 0.9)]
    stream = BytesIO()
    Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


@pytest.fixture(scope="module")
def saved(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("tensorflow") / "model"
    return path, export(checkpoint, "tensorflow", path, image_bytes=True)


def test_any_number_of_images(saved, checkpoint):
    path, report = saved
    assert report.passed
    assert [check.batch for check in report.checks] == [1, 8, 2]
    model = tf.saved_model.load(str(path))
    session = mvf.Session(checkpoint)
    for batch in (1, 3, 8):
        images = random_images(batch, 96, 96)
        found = model.signatures["serving_default"](pixel_values=tf.constant(images))["logits"]
        assert error(found.numpy(), session.run(images)) < TOLERANCE


def test_files_as_strings(saved, checkpoint):
    path, _ = saved
    model = tf.saved_model.load(str(path))
    kinds = (((150, 200), "JPEG"), ((131, 120), "PNG"), ((90, 300), "JPEG"))
    files = [photograph(size, kind, seed) for seed, (size, kind) in enumerate(kinds)]
    found = model.signatures["serving_bytes"](image_bytes=tf.constant(files))["logits"].numpy()
    expected = mvf.Session(checkpoint).run(preprocess(files, checkpoint.preprocessing))
    assert error(found, expected) < 2e-2
    assert np.ptp(expected, axis=0).max() > 0.1 * np.abs(expected).max()
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_what_travels_with_the_model(saved, checkpoint):
    path, _ = saved
    assert (path / "assets" / "labels.txt").read_text(encoding="utf-8").split() == list(checkpoint.labels)
    facts = json.loads((path / "assets" / "mobilevit_fast.json").read_text(encoding="utf-8"))
    assert mvf.Preprocessing.from_dict(json.loads(facts["preprocessing"])) == checkpoint.preprocessing


@pytest.mark.parametrize(
    "rule",
    [
        Preprocessing(shortest_edge=72, crop_size=(64, 64)),
        Preprocessing(shortest_edge=71, crop_size=(64, 64), resample="bicubic", crop_rounding="even"),
        Preprocessing(shortest_edge=48, crop_size=(64, 65), crop_rounding="even", channel_order="RGB"),
        Preprocessing(None, exact_size=(60, 80), crop_size=None, mean=(0.1, 0.2, 0.3), std=(2.0, 2.0, 2.0)),
        Preprocessing(shortest_edge=None, crop_size=(64, 50)),
    ],
    ids=["shorter edge", "bicubic", "padded", "exact", "crop only"],
)
@pytest.mark.parametrize("size", [(97, 120), (130, 75), (80, 80), (40, 40)])
def test_preprocessing_is_the_rules(rule, size):
    files = [photograph(size, "PNG"), photograph(size, "JPEG", 1)]
    found = normalise(decode_images(tf.constant(files), rule), rule).numpy()
    expected = preprocess(files, rule)
    assert found.shape == expected.shape
    level = rule.rescale / (rule.std[0] if rule.std else 1)
    assert np.abs(found - expected).max() < 2.01 * level
    assert np.abs(found - expected).mean() < 0.3 * level


def test_raw_pixels_of_any_size(tmp_path, checkpoint):
    path = tmp_path / "model"
    report = export(
        checkpoint, "tensorflow", path, size=(128, 96), raw_pixels=True, softmax=True, dynamic_size=True
    )
    assert report.passed
    assert len(report.checks) == 4
    model = tf.saved_model.load(str(path))
    pictures = made_pictures(2, (96, 160), checkpoint.preprocessing)
    found = model.signatures["serving_default"](images=tf.constant(pictures.raw))["probabilities"].numpy()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    logits = mvf.Session(checkpoint).run(pictures.pixels)
    assert (found.argmax(axis=1) == logits.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"size": (64, 64)}, "makes images of 96x96, any number"),
        ({}, {"dynamic_batch": False}, "leave out size and batches"),
        ({"crop_size": None}, {}, "needs a rule that brings all images to one size"),
    ],
)
def test_files_need_a_rule_and_its_size(tmp_path, checkpoint, changes, options, message):
    source = replace(checkpoint, preprocessing=replace(checkpoint.preprocessing, **changes))
    with pytest.raises(ValueError, match=message):
        export(source, "tensorflow", tmp_path / "model", image_bytes=True, **options)
    assert list(tmp_path.iterdir()) == []


def test_an_operator_that_is_not_known_is_named():
    class Model(torch.nn.Module):
        def forward(self, x):
            return torch.erfinv(x)

    with pytest.raises(NotImplementedError, match=r"no TensorFlow for aten\.erfinv\.default"):
        TensorflowProgram(torch.export.export(Model(), (torch.zeros(2),)))

"""Layers quantised one at a time."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from mobilevit_fast import Dataset, cli, sensitivity
from mobilevit_fast.cli import sensitivity as command
from mobilevit_fast.quantization import LayerSensitivity, Sensitivity
from mobilevit_fast.weights import layer_shapes

pytestmark = pytest.mark.filterwarnings("ignore:only 12 calibration images")


@pytest.fixture(scope="module")
def images(images):
    """Few, for each layer runs on all of them."""
    return images[:12]


@pytest.fixture(scope="module")
def result(checkpoint, images):
    return sensitivity(checkpoint, images, bits=(8, 4))


def test_every_layer_has_a_row_for_each_number_of_bits(result, checkpoint):
    shapes = layer_shapes(checkpoint.config)
    assert [(row.layer, row.bits) for row in result.rows] == [(name, b) for name in shapes for b in (8, 4)]
    assert [row.parameters for row in result.rows[::2]] == [np.prod(shape) for shape in shapes.values()]


def test_fewer_bits_cost_more(result):
    assert np.mean([e.sqnr - f.sqnr for e, f in zip(result.rows[::2], result.rows[1::2], strict=True)]) > 10
    assert all(np.isfinite(row.sqnr) and row.divergence > 0 for row in result.rows)


def test_the_table_has_a_line_for_each_row(result):
    lines = str(result).splitlines()
    assert len(lines) == len(result.rows) + 1
    assert all(word in lines[0] for word in ("layer", "bits", "SQNR dB", "divergence", "changed"))
    assert "top-1" not in lines[0]
    assert lines[1].split()[:2] == ["stem", "8"]


def test_the_worst_come_first(result):
    worst = result.worst(5)
    assert len(worst) == 5
    assert worst[0].divergence == max(row.divergence for row in result.rows)


def test_the_picture_has_a_bar_for_each_row(result, tmp_path):
    pytest.importorskip("matplotlib")
    figure = result.plot(tmp_path / "bars.png")
    assert sum(len(container) for container in figure.axes[0].containers) == len(result.rows)
    with Image.open(tmp_path / "bars.png") as picture:
        assert picture.width > 300


def test_labels_tell_the_fall_of_top1(checkpoint, images):
    pixels = [Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)) for image in images]
    data = Dataset(pixels, np.arange(len(pixels)) % 10, None, "waves")
    result = sensitivity(checkpoint, data, bits=[4])
    assert all(-1 <= row.loss <= 1 for row in result.rows)
    assert str(result).splitlines()[0].endswith("top-1")


def test_progress_is_told(checkpoint, images):
    seen = []

    def progress(steps, total, title):
        for step in steps:
            yield step
            seen.append((total, title))

    result = sensitivity(checkpoint, images[:2].repeat(16, 1, 1, 1), bits=[8], progress=progress)
    calibration = [(16, "ranges")] * 16 + [(16, "histograms")] * 16
    assert seen == calibration + [(len(result.rows), "sensitivity")] * len(result.rows)


def test_one_number_of_bits_needs_no_sequence(checkpoint, images):
    assert {row.bits for row in sensitivity(checkpoint, images, bits=8).rows} == {8}


@pytest.mark.parametrize("bits", [(), (8, 3)])
def test_other_bits_are_refused(checkpoint, images, bits):
    with pytest.raises(ValueError, match="bits must be 8, 4 or both"):
        sensitivity(checkpoint, images, bits=bits)


def test_logits_that_are_not_finite_tell_nothing(checkpoint, images):
    broken = {**checkpoint.tensors, "classifier.bias": np.full(10, np.nan, np.float32)}
    with pytest.raises(FloatingPointError, match="logits of 12 of 12 images are not finite with the float"):
        sensitivity(replace(checkpoint, tensors=broken), images)


def test_the_ratio_to_no_error_is_null_in_json(monkeypatch, capsys):
    row = LayerSensitivity("stem", 8, 432, float("inf"), 0.0, 0.0)
    monkeypatch.setattr(command, "read_calibration", lambda data, limit: data)
    monkeypatch.setattr(command.mvf, "sensitivity", lambda *given, **options: Sensitivity((row,)))
    assert cli.main(["sensitivity", "model", "data", "--json"]) == 0
    text = capsys.readouterr().out
    assert "Infinity" not in text
    assert json.loads(text)[0] == {**asdict(row), "sqnr": None}

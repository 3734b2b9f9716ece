"""One model in several formats, measured beside each other."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mobilevit_fast import StaticInt8, cli, quantize
from mobilevit_fast.benchmark.interleave import Pace
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.benchmark.subject import load_subject
from mobilevit_fast.cli.format_survey import describe, draw
from mobilevit_fast.evaluation import Dataset
from mobilevit_fast.export import FORMATS, export, survey
from mobilevit_fast.export.driver import load_exported
from mobilevit_fast.export.options import PRECISIONS
from mobilevit_fast.session import Session

QUICK = Pace(rounds=1, seconds=0.0, least_calls=1, pause=0.0)


def find(found, format, precision):
    return next(entry for entry in found.entries if (entry.format, entry.precision) == (format, precision))


@pytest.fixture(scope="module")
def found(checkpoint):
    small = quantize(checkpoint, StaticInt8(), calibration=random_images(32, 96, 96)).checkpoint()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 120, 110, 3), dtype=np.uint8)
    data = Dataset(list(pixels), np.arange(4), checkpoint.labels, "noise")
    return survey.survey([checkpoint, small], ["torch"], data=data, pace=QUICK)


def test_every_precision_that_source_and_format_have(found):
    assert [(entry.format, entry.precision) for entry in found.entries] == [
        ("mobilevit_fast", "fp32"),
        ("mobilevit_fast", "int8"),
        ("torch", "fp32"),
        ("torch", "fp16"),
        ("torch", "int8"),
    ]
    assert not found.left_out
    for entry in found.entries:
        assert entry.ms > 0
        assert entry.images_per_second > 0
    assert find(found, "torch", "fp32").max_relative_error < 1e-5
    assert find(found, "torch", "fp32").top1 == find(found, "mobilevit_fast", "fp32").top1
    assert find(found, "torch", "fp16").bytes < find(found, "torch", "fp32").bytes


def test_a_format_that_is_not_installed_is_left_out_with_the_reason(checkpoint, monkeypatch):
    def missing(self):
        raise ImportError("pip install it")

    monkeypatch.setattr(type(FORMATS["onnx"]), "driver", missing)
    found = survey.survey([checkpoint], ["onnx"], pace=QUICK)
    assert found.left_out == {"onnx fp32": "pip install it", "onnx fp16": "pip install it"}
    assert "left out: onnx fp32: pip install it" in describe(found)


def test_different_models_are_not_compared(checkpoint):
    with pytest.raises(ValueError, match="differ in their variant, size or classes"):
        survey.survey([checkpoint, load_subject("mobilevit_xs")], ["torch"], pace=QUICK)


def test_what_was_exported_runs_again(checkpoint, tmp_path):
    report = export(checkpoint, "torch", tmp_path / "model.pt2")
    images = random_images(3, 96, 96)
    answers = load_exported(checkpoint, report)(images)
    np.testing.assert_allclose(answers, Session(checkpoint).run(images), rtol=1e-4, atol=1e-4)


def test_the_picture_and_the_table(found, tmp_path):
    pytest.importorskip("matplotlib")
    draw(found.entries, tmp_path / "formats.svg")
    assert "<svg" in (tmp_path / "formats.svg").read_text()
    assert describe(found).count("| torch |") == 3


def test_the_picture_has_a_mark_for_every_precision(found, tmp_path):
    pytest.importorskip("matplotlib")
    torch_entry = find(found, "torch", "fp32")
    draw([replace(torch_entry, precision=name) for name in (*PRECISIONS, "mixed")], tmp_path / "all.svg")
    assert "torch mixed" in (tmp_path / "all.svg").read_text()


def test_the_command(capsys, tmp_path):
    small = tmp_path / "small.safetensors"
    quantize("mobilevit_xxs.cifar10", StaticInt8(), calibration=random_images(32, 96, 96)).save(small)
    command = ["bench", "mobilevit_xxs.cifar10", str(small), "--formats", "torch", "--rounds", "1"]
    assert cli.main([*command, "--threads", "1", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert [(entry["format"], entry["precision"]) for entry in entries] == [
        ("mobilevit_fast", "fp32"),
        ("mobilevit_fast", "int8"),
        ("torch", "fp32"),
        ("torch", "fp16"),
        ("torch", "int8"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--formats", "onxx"], "did you mean onnx"),
        (["--plot", "a.png"], "--plot is for --formats"),
        (["--formats", "torch", "--plot", "a.gif"], ".png or .svg"),
        (["--formats", "torch", "--threads", "1", "2"], "one number of threads"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message, capsys):
    assert cli.main(["bench", "mobilevit_xxs.cifar10", *arguments]) == 2
    assert message in capsys.readouterr().err

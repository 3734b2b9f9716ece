"""The commands around quantisation: what they print, write and refuse, and how they exit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from mobilevit_fast import Session, cli
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.cli.comparison import Comparison, Side

pytest.importorskip("torch")

MODEL = "mobilevit_xxs.cifar10"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """32 pictures, in the folder of what the float model takes each for."""
    folder = tmp_path_factory.mktemp("photographs")
    session = Session(MODEL)
    for index, planes in enumerate(random_images(32, *session.input_size)):
        picture = Image.fromarray((planes.transpose(1, 2, 0) * 255).astype(np.uint8))
        [[best]] = session.classify([picture], top_k=1)
        (folder / best.label).mkdir(exist_ok=True)
        picture.save(folder / best.label / f"{index}.png")
    return folder


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.mark.parametrize(
    ("recipe", "options", "least"),
    [
        ("static", [], 3.6),
        ("dynamic", [], 3.6),
        ("weight-only", ["--bits", 4, "--group-size", 32], 5),
        ("half", ["--dtype", "bf16"], 1.9),
        ("mixed", ["--max-bytes", 700_000], 5),
    ],
)
def test_every_recipe_writes_what_a_session_runs(capsys, tmp_path, photographs, recipe, options, least):
    output = tmp_path / "small.safetensors"
    arguments = ["--recipe", recipe, *options, "--calibration", photographs, "--json", "-o", output]
    code, out, _ = run(capsys, "quantize", MODEL, *arguments)
    report = json.loads(out)
    assert code == 0
    assert report["output"] == str(output)
    assert output.stat().st_size == report["after"]["bytes"] < report["before"]["bytes"] / least
    assert report["after"]["ms"] > 0
    assert report["before"]["top1"] is None
    assert Session(output).labels == Session(MODEL).labels


def test_before_and_after_are_told(capsys, tmp_path, photographs):
    output = tmp_path / "small.safetensors"
    arguments = ("--calibration", photographs, "--evaluate", photographs, "--limit", 20, "-o", output)
    code, out, err = run(capsys, "quantize", MODEL, *arguments, "--max-loss", "1")
    assert code == 0
    for word in ("float32", "quantised", "size", "one image", "top-1", "100.00%", "20 test images"):
        assert word in out
    assert f"written: {output}" in out
    assert "calibration" not in err


def test_a_loss_that_is_not_allowed_fails_and_writes_nothing(capsys, tmp_path, photographs, monkeypatch):
    side = Side(1000, 1.0, 0.9, 1.0)
    monkeypatch.setattr(
        "mobilevit_fast.cli.quantize.compare",
        lambda *_, **__: Comparison(side, Side(500, 0.5, 0.85, 1.0), 20, "avx2", 1),
    )
    output = tmp_path / "small.safetensors"
    arguments = ("--recipe", "half", "--evaluate", photographs, "-o", output)
    code, out, err = run(capsys, "quantize", MODEL, *arguments, "--max-loss", "0.02")
    assert code == 3
    assert "not written" in out
    assert "top-1 falls by 5.00%, more than the allowed 2.00%" in err
    assert not output.exists()
    code, _, err = run(capsys, "quantize", MODEL, *arguments)
    assert code == 0
    assert "more than the allowed 1.00%" in err
    assert output.exists()


def test_a_faster_float_model_is_a_warning():
    before, after = Side(1000, 1.0, None, None), Side(500, 1.5, None, None)
    slower = Comparison(before, after, 0, "avx2", 2)
    assert slower.warnings(0.01) == ["float is faster here: 1.00 ms an image against 1.50 (avx2, threads: 2)"]
    larger = Comparison(after, before, 0, "avx2", 2)
    assert larger.warnings(0.01) == ["the file grows, from 500 to 1000 bytes"]
    assert "2.00 times larger" in larger.describe()


def test_a_loss_of_as_much_as_is_allowed_is_allowed():
    before, after = Side(1000, 1.0, 0.9, 1.0), Side(500, 0.5, 0.89, 1.0)
    comparison = Comparison(before, after, 100, "avx2", 2)
    assert comparison.loss > 0.01
    assert not comparison.exceeds(0.01)
    assert comparison.exceeds(0.0099)


def test_few_and_random_images_are_warnings(capsys, tmp_path):
    height, width = Session(MODEL).input_size
    rng = np.random.default_rng(0)
    for index in range(3):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{index}.png")
    output = tmp_path / "small.safetensors"
    code, _, err = run(capsys, "quantize", MODEL, "--calibration", tmp_path, "-o", output)
    assert code == 0
    assert "mobilevit-fast: warning: only 3 calibration images" in err
    assert "look like noise" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "{new}"], "--recipe static needs --calibration"),
        (["--recipe", "half", "-o", "{old}"], "exists; --force overwrites it"),
        (["--recipe", "half", "-o", "{old}.onnx"], "must end in .safetensors"),
        (["--recipe", "half", "-o", "nowhere/a.safetensors"], "there is no folder 'nowhere'"),
        (["--recipe", "half", "--max-loss", "0.1", "-o", "{new}"], "name them with --evaluate"),
        (["--recipe", "half", "--evaluate", "nowhere", "-o", "{new}"], "there is no data set 'nowhere'"),
        (
            ["--recipe", "dynamic", "--bits", "4", "-o", "{new}"],
            "--bits is for --recipe weight-only, not dynamic",
        ),
        (["--max-bytes", "9", "-o", "{new}"], "--max-bytes is for --recipe mixed, not static"),
        (["--calibration", "nowhere", "-o", "{new}"], "there is no data set 'nowhere'"),
    ],
)
def test_mistakes_are_named_before_anything_is_done(capsys, tmp_path, arguments, message):
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    old.write_bytes(b"precious")
    code, _, err = run(capsys, "quantize", MODEL, *(text.format(old=old, new=new) for text in arguments))
    assert code == 2
    assert message in err
    assert old.read_bytes() == b"precious"
    assert not new.exists()


def test_force_overwrites(capsys, tmp_path):
    output = tmp_path / "small.safetensors"
    output.write_bytes(b"old")
    assert run(capsys, "quantize", MODEL, "--recipe", "half", "--force", "-o", output)[0] == 0
    assert Session(output).labels


@pytest.mark.parametrize("loss", ["2", "-0.1", "much"])
def test_a_loss_is_a_share(capsys, loss):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["quantize", MODEL, "--max-loss", loss, "-o", "a.safetensors"])
    assert exit_.value.code == 2
    assert "expected a share from 0 to 1" in capsys.readouterr().err


def test_evaluate_tells_shares_and_confusions(capsys, photographs, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, _ = run(capsys, "evaluate", MODEL, photographs, "--plot", tmp_path / "confusion.png")
    assert code == 0
    assert "top-1 100.00%  top-5 100.00%  of 32 images" in out
    assert "label \\ answer" in out
    assert (tmp_path / "confusion.png").stat().st_size > 1000
    code, out, _ = run(capsys, "evaluate", MODEL, photographs, "--json", "--limit", 10)
    report = json.loads(out)
    assert (report["images"], report["top1"], np.sum(report["confusion"])) == (10, 1.0, 10)


@pytest.mark.parametrize(
    "command", [["evaluate", MODEL, "data"], ["sensitivity", MODEL, "data"], ["bench", "--profile"]]
)
def test_pictures_are_checked_before_the_work(capsys, command):
    flag = "--roofline" if command[0] == "bench" else "--plot"
    code, _, err = run(capsys, *command, flag, "picture.bmp")
    assert code == 2
    assert "must end in .png or .svg, got 'picture.bmp'" in err


def test_evaluate_names_classes_that_the_model_lacks(capsys, tmp_path):
    (tmp_path / "airplane").mkdir()
    (tmp_path / "spaceship").mkdir()
    for name in ("airplane", "spaceship"):
        Image.new("RGB", (64, 64)).save(tmp_path / name / "a.png")
    code, _, err = run(capsys, "evaluate", MODEL, tmp_path)
    assert code == 2
    assert "'spaceship', which is none of the model's 10" in err


def test_sensitivity_prints_a_row_for_each_layer(capsys, photographs, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "layers.png"
    code, out, err = run(
        capsys, "sensitivity", MODEL, photographs, "--limit", 4, "--bits", 8, "--plot", picture
    )
    assert code == 0
    assert "only 4 calibration images" in err
    assert len(out.splitlines()) == 73
    assert picture.stat().st_size > 1000

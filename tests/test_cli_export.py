"""`mobilevit-fast export`: what it prints and how it exits."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from mobilevit_fast import cli
from mobilevit_fast.export import FORMATS, VerificationError
from mobilevit_fast.export.format_options import FormatOptions, question
from mobilevit_fast.export.verification import Check, Report

MODEL = "mobilevit_xxs.cifar10"


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_an_export_is_written_and_told(capsys, tmp_path):
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    path = tmp_path / "model.onnx"
    code, out, _ = run(capsys, "export", MODEL, "--format", "onnx", "-o", path, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["passed"] is True
    assert report["bytes"] == path.stat().st_size
    assert report == json.loads((tmp_path / "model.onnx.json").read_text())


def test_a_failed_verification_exits_with_3(capsys, tmp_path, monkeypatch):
    report = Report(
        path=str(tmp_path / "a.onnx.failed"),
        format="onnx",
        source=MODEL,
        options={"precision": "fp32"},
        runtime="onnxruntime 1.0",
        bytes=10,
        bound=1e-5,
        checks=(Check(1, (96, 96), 0.5, 0.25),),
    )

    def fail(*_, **__):
        raise VerificationError(report)

    monkeypatch.setattr("mobilevit_fast.cli.export.mvf.export", fail)
    code, out, err = run(capsys, "export", MODEL, "--format", "onnx", "-o", tmp_path / "a.onnx")
    assert code == 3
    assert "relative error 5.0e-01, top-1 agreement 25%" in out
    assert "WORSE THAN" in out
    assert "kept as" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "onxn", "-o", "{new}.onnx"], "unknown format 'onxn'; did you mean onnx"),
        (["--format", "onnx", "-o", "{new}.pt"], "must end in .onnx"),
        (["--format", "onnx", "-o", "{old}"], "exists; force=True (--force) overwrites it"),
        (["--format", "onnx", "-o", "nowhere/a.onnx"], "there is no folder 'nowhere'"),
        (["--format", "onnx", "--palette", "6", "-o", "{new}.onnx"], "'onnx' has no option 'palette'"),
    ],
)
def test_mistakes_are_named(capsys, tmp_path, arguments, message):
    old = tmp_path / "old.onnx"
    old.write_bytes(b"precious")
    filled = (text.format(old=old, new=tmp_path / "new") for text in arguments)
    code, _, err = run(capsys, "export", MODEL, *filled)
    assert code == 2
    assert message in err
    assert old.read_bytes() == b"precious"


@dataclass(frozen=True)
class Questions(FormatOptions):
    mirrored_left: bool = question(False, "swap left and right")
    colour: str = question("red", "of the frame", ("red", "blue"))


def test_what_a_format_alone_can_be_asked_has_flags(capsys, tmp_path, monkeypatch):
    row = replace(FORMATS["torch"], options=Questions)
    monkeypatch.setattr("mobilevit_fast.cli.export.FORMATS", {"torch": row})
    asked = []

    def record(*_, **options):
        asked.append({name: options[name] for name in ("mirrored_left", "colour") if name in options})
        raise ValueError("enough")

    monkeypatch.setattr("mobilevit_fast.cli.export.mvf.export", record)
    given = ("export", MODEL, "--format", "torch", "-o", tmp_path / "a.pt2")
    run(capsys, *given)
    run(capsys, *given, "--mirrored-left", "--colour", "blue")
    assert asked == [{}, {"mirrored_left": True, "colour": "blue"}]
    with pytest.raises(SystemExit):
        run(capsys, "export", "--help")

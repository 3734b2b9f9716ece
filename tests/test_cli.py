"""The command line: what it prints and how it exits."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata

import pytest
from PIL import Image

from checkpoints import LABELS, random_checkpoint
from mobilevit_fast import Session, cli
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.cli import doctor, entry, progress
from mobilevit_fast.cli.text import table
from mobilevit_fast.weights import save_checkpoint, save_quantized

COMMANDS = tuple(entry.COMMANDS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, random_checkpoint())
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two photographs, one of them in a folder of its own, and a file that is none."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "deeper").mkdir()
    Image.linear_gradient("L").convert("RGB").resize((300, 280)).save(folder / "a.jpg")
    Image.new("RGB", (280, 300), "orange").save(folder / "deeper" / "B.PNG")
    (folder / "notes.txt").write_text("not a photograph")
    return folder


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(capsys, command):
    with pytest.raises(SystemExit) as exit_:
        cli.main([command, "--help"])
    output = capsys.readouterr().out
    assert exit_.value.code == 0
    assert "example" in output
    assert f"mobilevit-fast {command}" in output
    assert "--json" in output


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--help"])
    assert exit_.value.code == 0
    output = capsys.readouterr().out
    listed = [line.split()[0] for line in output.splitlines() if line.startswith("    ")]
    assert all(command in listed for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["classify"],
        ["classify", "a.jpg", "--top-k", "0"],
        ["classify", "a.jpg", "--batch", "many"],
        ["info", "x", "--size", "9x"],
        ["info", "x", "--size", "99999999999999999999"],
        ["classify", "a.jpg", "--batch", "99999999999999999999"],
    ],
)
def test_bad_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    assert "usage: mobilevit-fast" in capsys.readouterr().err


def test_the_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert exit_.value.code == 0
    assert re.fullmatch(r"mobilevit-fast \S+\n", capsys.readouterr().out)


def test_the_version_of_sources_that_were_never_installed(capsys, monkeypatch):
    def not_found(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_found)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert (exit_.value.code, capsys.readouterr().out) == (0, "mobilevit-fast 0+source\n")


def test_classify_prints_the_labels_of_a_photograph(capsys, model, folder):
    code, output, errors = run(capsys, "classify", folder / "a.jpg", "--model", model, "--top-k", 2)
    best, second = Session(model).classify(folder / "a.jpg", top_k=2)[0]
    assert code == 0
    assert not errors
    assert output.splitlines() == [
        str(folder / "a.jpg"),
        f"{best.score:7.1%}  {best.label}",
        f"{second.score:7.1%}  {second.label}",
    ]


def test_classify_walks_folders(capsys, model, folder):
    code, output, _ = run(capsys, "classify", folder, "--model", model, "-k", 1)
    assert code == 0
    assert [line.split("  ")[-1] for line in output.splitlines()] == [
        str(folder / "a.jpg"),
        str(folder / "deeper" / "B.PNG"),
    ]


def test_classify_answers_the_good_photographs_and_names_the_bad(capsys, model, folder):
    photos = [folder / "a.jpg", folder / "notes.txt", "nowhere.jpg", folder / "deeper" / "B.PNG"]
    code, output, errors = run(capsys, "classify", *photos, "--model", model, "-k", 1, "--batch", 2)
    assert code == 2
    assert len(output.splitlines()) == 2
    first, second = errors.splitlines()
    assert first.startswith("mobilevit-fast: error: ")
    assert "notes.txt" in first
    assert "nowhere.jpg" in second


def test_names_that_the_terminal_has_no_letters_for(model, folder, tmp_path):
    photo = tmp_path / "photo 写真.jpg"
    shutil.copy(folder / "a.jpg", photo)
    command = [sys.executable, "-m", "mobilevit_fast", "classify", photo, photo, "--model", model]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("photo \\u5199\\u771f.jpg") == 2


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_command_without_an_output(model, folder, stream):
    command = ["classify", str(folder / "a.jpg"), "--model", str(model)]
    code = f"import sys; sys.{stream} = None; from mobilevit_fast import cli; sys.exit(cli.main({command}))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (stream == "stderr")


@pytest.mark.filterwarnings("always:.*more than 8 bits a channel")
def test_warnings_are_lines_without_a_place_in_the_code(capsys, model, tmp_path):
    Image.new("I;16", (40, 40), 9000).save(tmp_path / "deep.png")
    code, output, errors = run(capsys, "classify", tmp_path / "deep.png", "--model", model)
    assert code == 0
    assert output
    [line] = errors.splitlines()
    assert line.startswith("mobilevit-fast: warning: ")
    assert "more than 8 bits a channel" in line


def test_classify_as_json(capsys, model, folder):
    photos = [str(folder / "a.jpg"), "nowhere.jpg"]
    code, output, _ = run(capsys, "classify", *photos, "--model", model, "--json")
    assert code == 2
    good, bad = json.loads(output)
    assert good["image"] == photos[0]
    assert sorted(entry["label"] for entry in good["predictions"]) == sorted(LABELS)
    assert sum(entry["score"] for entry in good["predictions"]) == pytest.approx(1)
    assert bad["image"] == "nowhere.jpg"
    assert "nowhere.jpg" in bad["error"]


def test_classify_takes_the_engine_options(capsys, model, folder, isa):
    options = ["--isa", isa, "--threads", 1, "--precision", "fp32"]
    code, _, _ = run(capsys, "classify", folder, "--model", model, *options)
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["classify", "{folder}/deeper/..", "--model", "nowhere.safetensors"], "nowhere.safetensors"),
        (["classify", "a.jpg", "--model", "{model}", "--isa", "sse9"], "sse9"),
        (["classify", "a.jpg", "--model", "{model}", "--precision", "int8"], "int8"),
        (["classify", "{empty}", "--model", "{model}"], "holds no photographs"),
        (["info", "mobilevit"], "mobilevit"),
        (["bench", "resnet50"], "resnet50"),
        (["bench", "--peers", "caffe"], "caffe"),
        (["bench", "--peers", "timm", "--precision", "bf16"], "'timm' runs fp32 here, not bf16"),
        (["bench", "--pin"], "--pin needs --threads"),
        (["bench", "--profile", "--peers"], "--peers is not for --profile"),
        (["bench", "--formats", "onnx", "--isa", "avx2"], "--isa is not for --formats"),
        (["bench", "--formats", "onnx", "--batch", "8"], "--batch is not for --formats"),
        (["classify", "a.jpg", "--model", "{model}", "--force"], "--force is for --out"),
        (["quantize", "{model}", "-o", "{empty}/q.safetensors", "--limit", "3"], "--limit is for --evaluate"),
        (["finetune", "{empty}", "--model", "x", "-o", "y", "--private"], "--private is for --push-to-hub"),
        (["finetune", "{empty}", "--model", "x", "-o", "y", "--push-to-hub", "a b!"], "a b!"),
    ],
)
def test_bad_input_exits_with_2_and_one_line(capsys, model, folder, tmp_path, arguments, named):
    places = {"folder": folder, "model": model, "empty": tmp_path}
    code, output, errors = run(capsys, *(argument.format(**places) for argument in arguments))
    assert code == 2
    assert not output
    assert len(errors.splitlines()) == 1
    assert named in errors


def test_list(capsys):
    code, output, _ = run(capsys, "list")
    assert code == 0
    assert "mobilevit_s    5.58 M      apple/mobilevit-small" in output
    _, output, _ = run(capsys, "list", "--json")
    counts = {model["name"]: model["parameters"] for model in json.loads(output)}
    assert counts == {"mobilevit_xxs": 1_272_024, "mobilevit_xs": 2_317_848, "mobilevit_s": 5_578_632}


def test_info_of_a_checkpoint(capsys, model):
    code, output, _ = run(capsys, "info", model)
    assert code == 0
    assert output.startswith(model)
    for expected in ("5 classes", "GMAC at 256x256", "shorter side to 288", "BGR", "stages.4.1.fuse"):
        assert expected in output


def test_info_of_a_variant_counts_what_the_papers_count(capsys):
    code, output, _ = run(capsys, "info", "mobilevit_s", "--json")
    report = json.loads(output)
    assert code == 0
    assert report["parameters"] == 5_578_632
    assert report["macs"] == pytest.approx(2.0e9, rel=0.02)
    assert report["memory"]["arena"] > 0
    assert report["layers"][0]["output"] == [128, 128, 16]


def test_info_bench_and_classify_take_a_quantised_file(capsys, folder, tmp_path):
    path = tmp_path / "small.safetensors"
    save_quantized(path, random_quantized("mobilevit_xxs"))
    _, output, _ = run(capsys, "info", path, "--size", "64", "--json")
    report = json.loads(output)
    assert report["precision"] == "int8"
    assert report["layers"][0]["kind"] == "int8_stem"
    code, output, _ = run(
        capsys, "bench", path, "--size", 64, "--rounds", 1, "--batch", 1, "--json", "--peers"
    )
    assert code == 0
    assert json.loads(output)[0]["precision"] == "int8"
    code, output, _ = run(capsys, "bench", path, "--size", 64, "--profile")
    assert code == 0
    assert "int8_attention" in output
    code, output, _ = run(capsys, "classify", folder / "a.jpg", "--model", path, "--json")
    assert code == 0
    [answer] = json.loads(output)
    assert len(answer["predictions"]) == 5


def test_info_at_another_size(capsys, model):
    _, output, _ = run(capsys, "info", model, "--size", "64x96", "--json")
    report = json.loads(output)
    assert report["size"] == [64, 96]
    assert report["layers"][0]["output"] == [32, 48, 16]


def test_doctor(capsys):
    code, output, _ = run(capsys, "doctor")
    assert code == 0
    assert "fp32 kernels" in output
    _, output, _ = run(capsys, "doctor", "--json")
    report = json.loads(output)
    assert report["isa"] in report["isa_tables"]["fp32"]
    assert report["isa_tables"]["int8"][0] == "scalar"
    assert report["threads"] >= 1


def test_doctor_says_why_cuda_is_absent():
    report = doctor.gather()
    reason, devices = report["cuda"]["absent_because"], report["cuda"]["devices"]
    assert bool(reason) != bool(devices)
    report["cuda"] = {"absent_because": "a reason", "devices": []}
    assert "none: a reason" in doctor.describe(report)
    device = {"name": "A GPU", "capability": "9.0", "multiprocessors": 1, "memory": 2**34}
    report["cuda"] = {"absent_because": None, "devices": [device]}
    assert "A GPU (compute capability 9.0, 16 GiB)" in doctor.describe(report)


def test_doctor_says_how_to_add_what_is_missing(monkeypatch):
    requirements = ["numpy>=1.23", 'numpy; extra == "a"', 'there-is-none[x]<3,>=2.4; extra == "b"']
    monkeypatch.setattr(metadata, "requires", lambda package: requirements)
    lines = doctor.describe(doctor.gather()).splitlines()
    assert lines[-2].split(maxsplit=2) == ["extra", "a", "complete"]
    assert lines[-1].split(maxsplit=2) == [
        "extra",
        "b",
        "lacks there-is-none: pip install 'mobilevit_fast[b]'",
    ]


def test_doctor_does_without_an_installed_package(monkeypatch):
    def requires(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "requires", requires)
    assert doctor.gather()["extras"] == {}


def test_a_profile_has_every_step(capsys):
    code, output, _ = run(capsys, "bench", "mobilevit_xxs", "--profile", "--size", "64", "--threads", 1)
    assert code == 0
    assert "GMAC/s, measured" in output
    assert "stages.3.1.layers.3.ffn" in output
    assert output.splitlines()[-1].startswith("all")


def test_bench_without_peers_times_ours(capsys):
    arguments = ["bench", "mobilevit_xxs", "--size", "64", "--batch", 2, "--rounds", 1, "--json", "--peers"]
    code, output, _ = run(capsys, *arguments)
    assert code == 0
    [result] = json.loads(output)
    assert result["workload"]["batch"] == 2
    assert list(result["ms"]) == ["mobilevit_fast"]
    assert result["ms"]["mobilevit_fast"] > 0


def test_an_interrupt_exits_with_130(capsys, monkeypatch, model, folder):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "classify_each", interrupt)
    code, _, errors = run(capsys, "classify", folder, "--model", model)
    assert code == 130
    assert errors == "mobilevit-fast: interrupted\n"


def test_a_reader_that_leaves_is_no_error(model, folder):
    command = [
        sys.executable,
        "-m",
        "mobilevit_fast",
        "classify",
        *[str(folder / "a.jpg")] * 3,
        "--model",
        model,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert errors == b""


def test_a_bar_appears_for_long_work_on_a_terminal_only(monkeypatch, capsys):
    def work():
        for item in range(5):
            time.sleep(0.02)
            yield item

    assert list(progress.show_progress(work(), 5, "Working", patience=0.01)) == list(range(5))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(progress.show_progress(work(), 5, "Working", patience=0.01)) == list(range(5))
    assert "Working" in capsys.readouterr().err


def test_a_table_is_aligned():
    assert table(("a", "b"), [("one", "2"), ("x", "34")]) == "a     b\none   2\nx    34"

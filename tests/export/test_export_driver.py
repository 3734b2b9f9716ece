"""What export() refuses, and that nothing is half-written."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_weights import random_checkpoint
from mobilevit_fast.export import Report, VerificationError, driver, export, formats
from mobilevit_fast.export.format_options import FormatOptions, question
from mobilevit_fast.export.options import Options
from mobilevit_fast.export.pictures import made_pictures, read_pictures
from mobilevit_fast.export.verification import relative_error
from mobilevit_fast.image import preprocess
from mobilevit_fast.model import from_checkpoint


class Fake:
    """A driver whose files hold a session, off by `error`."""

    def __init__(self, checkpoint, error=0.0):
        self.session, self.error = mvf.Session(checkpoint), error

    def write(self, job, path):
        path.write_text("model")

    def load(self, job, path):
        assert path.read_text() == "model"
        return lambda images: self.session.run(images) * (1 + self.error)


@pytest.fixture
def fake(checkpoint, monkeypatch):
    def use(error=0.0):
        monkeypatch.setattr(formats.Format, "driver", lambda _: Fake(checkpoint, error))

    use()
    return use


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_good_export_leaves_the_file_and_its_report(tmp_path, checkpoint, fake):
    report = export(checkpoint, "onnx", tmp_path / "a.onnx")
    assert isinstance(report, Report)
    assert names(tmp_path) == ["a.onnx", "a.onnx.json"]
    assert [check.batch for check in report.checks] == [1, 8]
    assert json.loads((tmp_path / "a.onnx.json").read_text())["passed"] is True
    assert "top-1 agreement 100%" in str(report)


def test_photographs_to_compare_on(tmp_path, checkpoint, fake):
    shades = [Image.new("RGB", (120, 100), colour) for colour in ("red", "green", "navy")]
    assert export(checkpoint, "onnx", tmp_path / "a.onnx", images=shades).passed


@pytest.mark.parametrize("error", [0.5, float("nan")])
def test_a_bad_export_is_kept_under_another_name(tmp_path, checkpoint, fake, error):
    (tmp_path / "a.onnx").write_text("precious")
    fake(error)
    with pytest.raises(VerificationError, match=r"kept as .*a\.onnx\.failed") as caught:
        export(checkpoint, "onnx", tmp_path / "a.onnx", force=True)
    assert not caught.value.report.passed
    assert names(tmp_path) == ["a.onnx", "a.onnx.failed", "a.onnx.failed.json"]
    assert (tmp_path / "a.onnx").read_text() == "precious"


def test_an_existing_file_needs_force(tmp_path, checkpoint, fake):
    (tmp_path / "a.onnx").write_text("precious")
    with pytest.raises(FileExistsError, match=r"exists; force=True \(--force\) overwrites it"):
        export(checkpoint, "onnx", tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_text() == "precious"
    export(checkpoint, "onnx", tmp_path / "a.onnx", force=True)
    assert (tmp_path / "a.onnx").read_text() == "model"


def test_answers_that_are_all_zero_have_no_error():
    zeros = np.zeros((2, 3), np.float32)
    assert relative_error(zeros, zeros) == 0
    assert relative_error(zeros + 1e-3, zeros) > 1


def test_what_came_in_the_meantime_is_not_overwritten(tmp_path, checkpoint, fake, monkeypatch):
    def compare(*arguments):
        (tmp_path / "a.onnx").write_text("another's")
        return real(*arguments)

    real = driver.compare
    monkeypatch.setattr(driver, "compare", compare)
    with pytest.raises(FileExistsError, match="exists; force=True"):
        export(checkpoint, "onnx", tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_text() == "another's"
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_the_report_overwrites_nothing_without_force(tmp_path, checkpoint, fake):
    mine = tmp_path / "a.onnx.json"
    mine.write_text("precious")
    with pytest.raises(FileExistsError, match=r"a\.onnx\.json' exists; force=True"):
        export(checkpoint, "onnx", tmp_path / "a.onnx")
    assert mine.read_text() == "precious"
    mine.unlink()
    mine.mkdir()
    with pytest.raises(IsADirectoryError, match=r"a\.onnx\.json' is a folder"):
        export(checkpoint, "onnx", tmp_path / "a.onnx", force=True)
    assert names(tmp_path) == ["a.onnx.json"]


@pytest.mark.parametrize(
    ("format_name", "path", "options", "error", "message"),
    [
        ("onxn", "a.onnx", {}, ValueError, "unknown format 'onxn'; did you mean onnx"),
        ("onnx", "a.pt", {}, ValueError, "must end in .onnx"),
        ("onnx", "nowhere/a.onnx", {}, FileNotFoundError, "there is no folder"),
        ("onnx", "a.onnx", {"precision": "fp64"}, ValueError, "unknown precision 'fp64'"),
        ("onnx", "a.onnx", {"precision": "int8"}, ValueError, "not quantised"),
        ("onnx", "a.onnx", {"size": (0, 3)}, ValueError, "size must be"),
        ("onnx", "a.onnx", {"size": (100_000, 64)}, ValueError, "each from 1 to 8192, got"),
        ("onnx", "a.onnx", {"size": (64, True)}, ValueError, "size must be"),
        ("onnx", "a.onnx", {"size": (100, 96), "dynamic_size": True}, ValueError, "multiples of 32 from 96"),
        ("onnx", "a.onnx", {"images": []}, ValueError, "no images were given"),
        ("onnx", "a.onnx", {"images": "nowhere"}, FileNotFoundError, "there is no folder 'nowhere'"),
    ],
)
def test_mistakes_are_named(tmp_path, checkpoint, fake, format_name, path, options, error, message):
    with pytest.raises(error, match=message):
        export(checkpoint, format_name, tmp_path / path, **options)
    assert names(tmp_path) == []


def test_a_source_of_another_kind(tmp_path, fake):
    with pytest.raises(TypeError, match="cannot export an object of type int"):
        export(3, "onnx", tmp_path / "a.onnx")


def test_a_missing_tensor_is_named(tmp_path, checkpoint, fake):
    tensors = dict(checkpoint.tensors)
    del tensors["head.conv.weight"]
    with pytest.raises(ValueError, match=r"head\.conv\.weight"):
        export(replace(checkpoint, tensors=tensors), "onnx", tmp_path / "a.onnx")
    assert names(tmp_path) == []


def test_a_missing_extra_says_how_to_get_it(tmp_path, checkpoint, monkeypatch):
    row = replace(formats.FORMATS["onnx"], modules=("torch", "no_such_module"))
    monkeypatch.setattr(driver, "get_format", lambda _: row)
    with pytest.raises(ImportError, match=r"needs no_such_module: pip install 'mobilevit_fast\[onnx\]'"):
        export(checkpoint, "onnx", tmp_path / "a.onnx")


def test_an_old_torch_is_named(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr(formats, "version", lambda _: "2.4.1+cpu")
    with pytest.raises(ImportError, match=r"needs torch 2\.13 or newer, found 2\.4\.1"):
        export(checkpoint, "onnx", tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("format_name", "path", "message"),
    [
        ("openvino", "a.xml", "keep_custom_ops is for onnx, torch"),
        ("torch", "a.pt2", "quantised model goes out"),
        ("onnx", "a.onnx", "does not compute on bytes throughout"),
    ],
)
def test_custom_operations_are_for_some_models_and_formats(
    tmp_path, checkpoint, fake, format_name, path, message
):
    source = mvf.quantize(checkpoint, mvf.DynamicInt8()) if format_name != "openvino" else checkpoint
    with pytest.raises(ValueError, match=message):
        export(source, format_name, tmp_path / path, keep_custom_ops=True)


def test_modules_are_sources(tmp_path, monkeypatch):
    full = random_checkpoint("mobilevit_xxs")
    monkeypatch.setattr(formats.Format, "driver", lambda _: Fake(full))
    model = from_checkpoint(full).eval()
    for source in (model, mvf.optimize(model)):
        assert export(source, "onnx", tmp_path / "a.onnx", size=(96, 96), force=True).passed


def test_the_module_is_the_function():
    import mobilevit_fast.export as module

    assert callable(module)
    assert callable(mvf.export)
    with pytest.raises(ValueError, match="unknown format"):
        module(3, "nonsense", "a.onnx")


def test_pictures_are_the_same_in_both_forms(checkpoint):
    rule = checkpoint.preprocessing
    pictures = made_pictures(2, (96, 96), rule)
    for raw, pixels in zip(pictures.raw, pictures.pixels, strict=True):
        image = Image.fromarray(raw.transpose(1, 2, 0))
        expected = preprocess([image], replace(rule, shortest_edge=None))
        np.testing.assert_allclose(pixels[None], expected, atol=1e-5)
    again = read_pictures([Image.fromarray(pictures.raw[0].transpose(1, 2, 0))], (96, 96), rule)
    np.testing.assert_array_equal(again.raw[0], pictures.raw[0])
    np.testing.assert_array_equal(again.pixels[0], pictures.pixels[0])


def test_options_name_what_goes_in_and_out():
    plain = Options("fp32", (96, 96))
    assert (plain.input_name, plain.output_name) == ("pixel_values", "logits")
    baked = Options("fp32", (96, 96), raw_pixels=True, softmax=True)
    assert (baked.input_name, baked.output_name) == ("images", "probabilities")


def use_row(monkeypatch, **changes):
    row = replace(formats.FORMATS["onnx"], **changes)
    monkeypatch.setattr(driver, "get_format", lambda _: row)


@pytest.mark.parametrize(
    ("given", "row", "batches"),
    [
        ({}, {}, [1, 8]),
        ({"dynamic_batch": False}, {}, [1]),
        ({"batches": (5,)}, {}, [5]),
        ({"batches": (9,)}, {}, [9]),
        ({}, {"batches": (1,)}, [1]),
        ({"dynamic_batch": True}, {"batches": (1,)}, [1, 8]),
        ({}, {"dynamic_batch": False, "batches": (1, 4), "several_batches": True}, [1, 4]),
        ({"batches": (3, 2)}, {"several_batches": True}, [2, 3]),
    ],
)
def test_numbers_of_images(tmp_path, checkpoint, fake, monkeypatch, given, row, batches):
    use_row(monkeypatch, **row)
    report = export(checkpoint, "onnx", tmp_path / "a.onnx", **given)
    assert [check.batch for check in report.checks] == batches


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dynamic_batch": True}, "takes fixed numbers of images; any number go into onnx"),
        ({"batches": (1, 4)}, "takes one number of images"),
        ({"batches": ()}, "give either dynamic_batch or numbers of images"),
        ({"batches": (2,), "dynamic_batch": True}, "give either dynamic_batch or numbers of images"),
        ({"batches": (0,)}, "batches must be numbers of images"),
        ({"dynamic_size": True}, "takes images of one size; several go into onnx"),
    ],
)
def test_what_a_format_lacks_is_named(tmp_path, checkpoint, fake, monkeypatch, options, message):
    use_row(monkeypatch, dynamic_batch=False, dynamic_size=False, batches=(1,))
    with pytest.raises(ValueError, match=message):
        export(checkpoint, "onnx", tmp_path / "a.onnx", **options)


@pytest.mark.parametrize("batches", [4, np.int64(4)])
def test_batches_are_a_sequence(tmp_path, checkpoint, batches):
    with pytest.raises(TypeError, match=r"batches must be a sequence of numbers .* \[4\], got .*4"):
        export(checkpoint, "onnx", tmp_path / "a.onnx", batches=batches)


def test_numpys_whole_numbers_are_whole_numbers(tmp_path, checkpoint, fake):
    report = export(checkpoint, "onnx", tmp_path / "a.onnx", size=(np.int64(64), 96), batches=[np.int32(2)])
    assert (report.options["size"], report.options["batches"]) == ([64, 96], [2])


@dataclass(frozen=True)
class Questions(FormatOptions):
    mirrored: bool = question(False, "swap left and right")
    colour: str = question("red", "of the frame", ("red", "blue"))


def test_what_a_format_alone_can_be_asked(tmp_path, checkpoint, fake, monkeypatch):
    use_row(monkeypatch, options=Questions)
    report = export(checkpoint, "onnx", tmp_path / "a.onnx", mirrored=True)
    assert report.options["mirrored"] is True
    assert report.options["colour"] == "red"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"colour": "green"}, ValueError, "colour must be one of red, blue, got 'green'"),
        ({"mirrored": 1}, TypeError, "mirrored must be True or False, got 1"),
        ({"mirored": True}, TypeError, "no option 'mirored'; it has mirrored, colour"),
    ],
)
def test_a_wrong_answer_to_a_formats_question(
    tmp_path, checkpoint, fake, monkeypatch, options, error, message
):
    use_row(monkeypatch, options=Questions)
    with pytest.raises(error, match=message):
        export(checkpoint, "onnx", tmp_path / "a.onnx", **options)


def test_a_question_for_another_format_names_it(tmp_path, checkpoint, fake, monkeypatch):
    other = replace(formats.FORMATS["torch"], options=Questions)
    monkeypatch.setattr(driver, "FORMATS", {**formats.FORMATS, "torch": other})
    with pytest.raises(TypeError, match="'onnx' has no option 'mirrored'; mirrored is for torch"):
        export(checkpoint, "onnx", tmp_path / "a.onnx", mirrored=True)

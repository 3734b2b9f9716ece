"""ncnn: what the files hold, and that they answer as a session does."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mobilevit_fast as mvf
from mobilevit_fast.export import export

pytest.importorskip("pnnx")
pytest.importorskip("ncnn")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_model_and_what_travels_with_it(tmp_path, checkpoint, precision):
    path = tmp_path / "model.param"
    # Stages whose maps are odd, so that blocks resize them.
    report = export(checkpoint, "ncnn", path, precision=precision, size=(112, 96))
    assert report.passed
    assert [check.batch for check in report.checks] == [1]
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["model.bin", "model.metadata.json", "model.param", "model.param.json"]
    facts = json.loads((tmp_path / "model.metadata.json").read_text(encoding="utf-8"))
    assert tuple(json.loads(facts["labels"])) == checkpoint.labels
    assert mvf.Preprocessing.from_dict(json.loads(facts["preprocessing"])) == checkpoint.preprocessing
    assert (facts["input"], facts["output"]) == ("in0", "out0")
    parameters = sum(array.size for array in checkpoint.tensors.values())
    size = (tmp_path / "model.bin").stat().st_size
    assert size < (4.4 if precision == "fp32" else 2.4) * parameters


def test_no_layer_takes_ncnn_the_long_way(tmp_path, checkpoint):
    """Reshapes by an expression (6), or that move the axis that ncnn takes for a batch (12, 13), copy number
    by number.
    """
    assert export(checkpoint, "ncnn", tmp_path / "model.param").passed
    layers = [line.split() for line in (tmp_path / "model.param").read_text().splitlines()[2:]]
    reshapes = [fields for fields in layers if fields[0] == "Reshape"]
    assert reshapes
    slow = [fields for fields in reshapes if any(field.startswith(("6=", "12=", "13=")) for field in fields)]
    assert slow == []


def test_bytes_in_and_probabilities_out(tmp_path, checkpoint):
    assert export(checkpoint, "ncnn", tmp_path / "model.param", raw_pixels=True, softmax=True).passed


def test_several_images_at_once_are_refused(tmp_path, checkpoint):
    with pytest.raises(ValueError, match="one image at a time"):
        export(checkpoint, "ncnn", tmp_path / "model.param", batches=(4,))
    assert list(tmp_path.iterdir()) == []


def test_wrong_weights_are_noticed(tmp_path, checkpoint):
    """The check is of the written files, not of what was meant to be written."""
    from mobilevit_fast.export import ncnn_format
    from mobilevit_fast.export.job import Job
    from mobilevit_fast.export.options import Options

    job, path = Job(checkpoint, "ncnn", Options("fp32", (96, 96), (1,))), tmp_path / "model.param"
    ncnn_format.write(job, path)
    images = job.example().numpy() + 0.5
    before = ncnn_format.load(job, path)(images)
    weights = np.fromfile(path.with_suffix(".bin"), np.float32)
    weights[-7:] += 1  # the classifier's biases
    weights.tofile(path.with_suffix(".bin"))
    np.testing.assert_allclose(ncnn_format.load(job, path)(images), before + 1, rtol=1e-5)

"""ExecuTorch: what the programs hold, and that they answer as a session does."""

from __future__ import annotations

import json

import pytest

from mobilevit_fast.export import export

pytest.importorskip("executorch")


def test_a_program_and_what_travels_with_it(tmp_path, checkpoint):
    path = tmp_path / "model.pte"
    assert export(checkpoint, "executorch", path).passed
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(path)
    assert program.method_names == {"forward", "labels", "model", "options", "preprocessing"}
    [labels] = program.load_method("labels").execute([])
    assert tuple(json.loads(labels)) == checkpoint.labels
    parameters = sum(array.size for array in checkpoint.tensors.values())
    assert path.stat().st_size < 4.6 * parameters


def test_several_bytes_in_and_probabilities_out(tmp_path, checkpoint):
    path = tmp_path / "model.pte"
    report = export(checkpoint, "executorch", path, batches=(2,), raw_pixels=True, softmax=True)
    assert report.passed
    assert [check.batch for check in report.checks] == [2]

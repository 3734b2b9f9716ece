"""The report beside a fine-tuned model."""

import json
import warnings

import numpy as np
import pytest

from mobilevit_fast.evaluation import Dataset, Evaluation
from mobilevit_fast.json_text import to_json
from mobilevit_fast.train.preparation import Images
from mobilevit_fast.train.recipe import Recipe
from mobilevit_fast.train.report import write_report
from mobilevit_fast.train.result import Finetuned

STANDARD = Recipe()


def strictly(text):
    """What a reader makes of JSON that takes it by the letter."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def report(folder, history, recipe=STANDARD):
    data = Dataset([b"", b""], np.array([0, 1]), ("a", "b"), "the data")
    made = Finetuned(folder, Evaluation(0.5, 1.0, np.array([[1, 0], [1, 0]]), ("a", "b"), 2), ())
    images = Images(data, data, ("a", "b"), ())
    write_report(made, source="start", recipe=recipe, images=images, history=history, seconds=1.0)
    return strictly((folder / "report.json").read_text(encoding="utf-8"))


def test_numbers_that_are_not_finite_become_null(tmp_path):
    history = [{"epoch": 1.0, "loss": 0.5, "grad_norm": float("nan")}]
    found = report(tmp_path, history, Recipe(gradient_norm=float("inf")))
    assert found["history"] == [{"epoch": 1.0, "loss": 0.5, "grad_norm": None}]
    assert found["recipe"]["gradient_norm"] is None
    assert strictly(to_json({"a": (float("-inf"), [1.5, "\u00fc"])})) == {"a": [None, [1.5, "\u00fc"]]}


def test_an_empty_history_draws_no_warning(tmp_path):
    pytest.importorskip("matplotlib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert report(tmp_path, [])["history"] == []
    assert (tmp_path / "curves.png").is_file()

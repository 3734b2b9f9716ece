"""Trainings whose numbers run away."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mobilevit_fast import create_model, finetune, load_checkpoint
from mobilevit_fast.evaluation import Dataset, Splits
from mobilevit_fast.train.average import WeightAverage
from mobilevit_fast.train.divergence import check_answers, check_loss, check_weights
from mobilevit_fast.train.finetune import CHECKPOINTS
from mobilevit_fast.train.recipe import Recipe

pytest.importorskip("accelerate")

SMALL = Recipe(epochs=2, batch_size=8, size=32, average=0.5, warmup_epochs=0)
WILD = Recipe(epochs=1, batch_size=8, size=32, average=0, warmup_epochs=0, learning_rate=1e30)
STARTED = ("config.json", "model.safetensors", "report.json", "README.md")


@pytest.fixture(scope="module")
def data():
    """24 images of noise, of which 6 are to measure on, too."""
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 256, (36, 36, 3), np.uint8) for _ in range(24)]
    training = Dataset(images, np.arange(24) % 3, ("a", "b", "c"), "noise")
    return Splits(training, training.head(6))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    create_model("mobilevit_xxs", num_classes=3).save_pretrained(folder)
    return folder


def test_a_wild_rate_is_named_and_no_model_written(data, start, tmp_path):
    with pytest.raises(
        FloatingPointError, match=r"diverged: .* start anew with a learning rate below 1e\+30"
    ):
        finetune(data, start, tmp_path / "out", WILD)
    assert not any((tmp_path / "out" / name).exists() for name in STARTED)


def test_weights_that_are_finite_may_give_answers_that_are_not(data, start, tmp_path):
    once = replace(WILD, batch_size=24, learning_rate=1e18)
    with pytest.raises(FloatingPointError, match="logits of 6 of 6 validation images are not finite"):
        finetune(data, start, tmp_path / "out", once, save_steps=1)
    # All steps are done, so that it goes on with measuring.
    with pytest.raises(FloatingPointError, match="logits of 6 of the first 6 images are not finite"):
        finetune(data, start, tmp_path / "out", once, save_steps=1, resume=True)
    assert not any((tmp_path / "out" / name).exists() for name in STARTED)


@pytest.mark.parametrize(
    ("save_steps", "message"),
    [(3, "the loss is nan after step 4"), (2, "stem.conv.weight is not finite after step 4")],
)
def test_checkpoints_from_before_stay(data, start, tmp_path, monkeypatch, save_steps, message):
    update = WeightAverage.update

    def spoil(self, model, step):
        update(self, model, step)
        if step == 3:
            torch.nn.init.constant_(model.stem.conv.weight, float("nan"))

    with monkeypatch.context() as patch:
        patch.setattr(WeightAverage, "update", spoil)
        with pytest.raises(FloatingPointError, match=message):
            finetune(data, start, tmp_path / "out", SMALL, save_steps=save_steps)
    assert not any((tmp_path / "out" / name).exists() for name in STARTED)
    [kept] = (tmp_path / "out" / CHECKPOINTS / "float").iterdir()
    assert kept.name == f"checkpoint-{save_steps}"
    made = finetune(data, start, tmp_path / "out", SMALL, save_steps=save_steps, resume=True)
    assert all(np.isfinite(tensor).all() for tensor in load_checkpoint(made.folder).tensors.values())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_named(value):
    check_loss(2.5, 0, 0.1)
    with pytest.raises(FloatingPointError, match="before anything was learned: the weights to start from"):
        check_loss(value, 0, 0.1)
    with pytest.raises(FloatingPointError, match=f"the loss is {value} after step 7; .* below 0.1"):
        check_loss(value, 7, 0.1)

    norm = torch.nn.BatchNorm2d(2)
    check_weights([torch.nn.Linear(2, 2), norm], 7, 0.1)
    norm.running_var[1] = value
    with pytest.raises(FloatingPointError, match="running_var is not finite after step 7"):
        check_weights([torch.nn.Linear(2, 2), norm], 7, 0.1)

    logits = np.zeros((5, 3), np.float32)
    check_answers(logits, 7, 0.1)
    logits[[1, 3], 2] = value
    with pytest.raises(FloatingPointError, match="the logits of 2 of 5 validation images"):
        check_answers(logits, 7, 0.1)

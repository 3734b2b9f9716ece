"""`mobilevit-fast finetune`: options, what it prints, and how it ends."""

import argparse
import json
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("accelerate")

from mobilevit_fast import cli
from mobilevit_fast.cli.finetune_options import add_options, make_arguments, make_recipe, make_rounding
from mobilevit_fast.cli.training_progress import TrainingProgress
from mobilevit_fast.quantization import WeightOnly
from mobilevit_fast.train.recipe import Recipe
from mobilevit_fast.train.trainer import Progress

MODEL = "mobilevit_xxs.cifar10"


@pytest.fixture
def folder(tmp_path):
    """Two classes of six pictures, and one file that is none."""
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(6):
            level = np.random.default_rng(index).integers(0, 60, (40, 40, 3)) + 180 * label
            Image.fromarray(level.astype(np.uint8)).save(tmp_path / "data" / name / f"{index}.png")
    (tmp_path / "data" / "dark" / "broken.jpg").write_bytes(b"no image")
    return tmp_path / "data"


def parse(*options):
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(["data", "--model", "m", "-o", "out", *options])


def test_the_options_default_to_the_recipe():
    options = parse()
    assert make_recipe(options) == Recipe()
    assert make_arguments(options) == {}
    assert make_rounding(options) is None


def test_options_become_recipe_and_arguments():
    options = parse(
        *("--head-only", "--layer-decay", "0.8", "--cutmix", "1", "--no-flip", "--qat", "weight-only"),
        *("--bf16", "--accumulate", "2", "--set", "lr_scheduler_type=linear", "--set", "max_grad_norm=1.5"),
    )
    recipe = make_recipe(options)
    assert recipe.trained.head_only
    assert (recipe.trained.layer_decay, recipe.augmentation.cutmix, recipe.augmentation.flip) == (0.8, 1, 0)
    assert isinstance(make_rounding(options), WeightOnly)
    assert make_arguments(options) == {
        "bf16": True,
        "gradient_accumulation_steps": 2,
        "lr_scheduler_type": "linear",
        "max_grad_norm": 1.5,
    }


def test_a_run_names_what_it_skipped_and_tells_how_it_went(folder, tmp_path, capsys):
    command = ["finetune", folder, "--model", MODEL, "-o", tmp_path / "out", "--json"]
    command += ["--epochs", "1", "--batch", "5", "--size", "32", "--hold-out", "0.34"]
    assert cli.main([str(part) for part in command]) == 0
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert report["output"] == str(tmp_path / "out")
    assert report["labels"] == ["dark", "light"]
    assert (report["training_images"], report["validation_images"]) == (8, 4)
    assert "warning: skipped: 1 of the 13 images" in output.err
    assert "broken.jpg" in output.err
    assert "epoch 1.0/1  loss" in output.err

    assert cli.main([str(part) for part in command]) == 2
    assert "is not empty; resume=True (--resume) goes on with it" in capsys.readouterr().err
    assert cli.main([str(part) for part in [*command[:-1], "0.34", "--resume"] if part != "--json"]) == 0
    assert "class  images  precision" in capsys.readouterr().out
    assert cli.main(["classify", str(folder / "light" / "0.png"), "--model", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "2", "--learning-rate", "0"], "learning_rate must be above 0, got 0.0"),
        (["--learning-rate", "inf"], "learning_rate must be a finite number, got inf"),
        (["--set", "learning_rate=abc"], "learning_rate must be a number, got 'abc'"),
        (["--set", "gradient_accumulation_steps=0"], "must be at least 1, got 0"),
        (["--seed", "-1"], "seed must be from 0 to 4294967295, got -1"),
        (["--seed", "99999999999999999999"], "seed must be from 0 to 4294967295"),
        (["--set", "report_to=tensorboards"], "report_to must be none, all or what is installed"),
        (["--set", "lr_scheduler_kwargs=abc"], "lr_scheduler_kwargs must be a map in JSON"),
        (["--temperature", "0"], "temperature must be above 0, got 0.0"),
        (
            ["--learning-rate", "1e30", "--average", "0", "--warmup-epochs", "0", "--size", "32"],
            "the training diverged: ",
        ),
        (["--bad-images", "refuse"], "repair or remove them"),
        (["--validation", "nowhere"], "there is no data set 'nowhere'"),
    ],
)
def test_mistakes_end_in_one_line(folder, tmp_path, capsys, options, message):
    command = ["finetune", str(folder), "--model", MODEL, "-o", str(tmp_path / "out"), *options]
    assert cli.main(command) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_bar_shows_loss_accuracy_and_time_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with TrainingProgress() as bar:
        for step in range(1, 4):
            bar(Progress(step, 4, step / 4, 1, 0.5, 0.75, None, is_measured=False))
    shown = capsys.readouterr().err
    assert "loss 0.500" in shown
    assert "accuracy 75.0%" in shown
    assert "4" in shown

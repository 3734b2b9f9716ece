"""Fields of transformers' TrainingArguments that a caller sets."""

import pytest

pytest.importorskip("accelerate")

from mobilevit_fast.train.recipe import Recipe
from mobilevit_fast.train.trainer_arguments import check_arguments, make_arguments


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", "abc", "a number"),
        ("learning_rate", float("nan"), "a number"),
        ("learning_rate", float("inf"), "a finite number"),
        ("learning_rate", True, "a number"),
        ("learning_rate", 0, "above 0"),
        ("learning_rate", None, "a finite number"),
        ("weight_decay", -1, "not be below 0"),
        ("seed", -1, "be from 0 to 4294967295"),
        ("gradient_accumulation_steps", 0, "be at least 1"),
        ("gradient_accumulation_steps", 1.5, "a whole number"),
        ("dataloader_num_workers", "a", "a whole number"),
        ("dataloader_num_workers", -1, "be at least 0"),
        ("bf16", "yes", "true or false"),
        ("run_name", 3, "a text"),
    ],
)
def test_values_that_do_not_serve_are_named(name, value, expected):
    with pytest.raises(ValueError, match=f"{name} must (be )?{expected}, got {value!r}"):
        check_arguments({name: value})


@pytest.mark.parametrize("name", ["max_steps", "save_steps", "eval_strategy"])
def test_what_the_recipe_decides_cannot_be_set_beside_it(name):
    with pytest.raises(ValueError, match=f"{name} is decided by the recipe"):
        check_arguments({name: 3})


def test_values_that_serve_arrive(tmp_path):
    given = {
        "learning_rate": 1,
        "max_grad_norm": None,
        "lr_scheduler_type": "linear",
        "save_total_limit": 3,
        "lr_scheduler_kwargs": {},
        "bf16": False,
    }
    check_arguments(given)
    made = make_arguments(Recipe(epochs=3, seed=5), tmp_path / "new", None, given)
    assert {name: getattr(made, name) for name in given} == given
    assert (made.num_train_epochs, made.seed) == (3, 5)
    assert not (tmp_path / "new").exists()


def test_what_transformers_refuses_is_a_value_error(tmp_path):
    with pytest.raises(ValueError, match=r"TrainingArguments refuses .*'warmup_steps': None"):
        make_arguments(Recipe(), tmp_path, None, {"warmup_steps": None})

"""The ranges of a recipe of fine-tuning."""

import re

import pytest

from mobilevit_fast.train.recipe import Recipe


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("learning_rate", 0),
        ("average", 1),
        ("bad_images", "keep"),
        ("size", 8),
        ("weight_decay", -1),
        ("learning_rate", "abc"),
        ("learning_rate", float("inf")),
        ("learning_rate", float("nan")),
        ("feature_weight", float("inf")),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", 1.5),
        ("temperature", 0),
        ("temperature", float("nan")),
        ("soft", 1.5),
        ("hold_out", 1),
        ("gradient_norm", float("nan")),
    ],
)
def test_recipes_outside_their_ranges_are_named(field, value):
    with pytest.raises(ValueError, match=f"{field} must .* got {re.escape(repr(value))}"):
        Recipe(**{field: value})


def test_the_ends_of_ranges_are_within_them():
    recipe = Recipe(soft=1, average=0, seed=2**32 - 1, gradient_norm=float("inf"), feature_weight=0)
    assert recipe.seed == 2**32 - 1

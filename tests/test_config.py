import dataclasses
import json
import math
import re

import numpy as np
import pytest

from mobilevit_fast.config import MODELS, ModelConfig, get_config, list_models, make_divisible


def test_models_are_listed_smallest_first():
    assert list_models()[:3] == ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"]


def test_every_row_is_found_by_its_own_name():
    assert [get_config(name).name for name in list_models()] == list_models()


def test_overrides_replace_fields_and_leave_the_table_alone():
    config = get_config("mobilevit_s", num_classes=10, image_size=64)
    assert (config.num_classes, config.image_size) == (10, 64)
    assert MODELS["mobilevit_s"].num_classes == 1000


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_config("mobilevit_s").num_classes = 3


@pytest.mark.parametrize(
    ("given", "suggested"),
    [("mobilevit", "mobilevit_s"), ("mobilevit_m", "mobilevit_s"), ("MobileViT_XXS", "mobilevit_xxs")],
)
def test_an_unknown_name_suggests_near_ones(given, suggested):
    with pytest.raises(ValueError, match=f"unknown model '{given}'.*{suggested}"):
        get_config(given)


def test_a_name_near_to_nothing_lists_all():
    with pytest.raises(ValueError, match="known: mobilevit_xxs, mobilevit_xs, mobilevit_s"):
        get_config("resnet50")


def test_a_name_that_is_no_string_is_refused():
    with pytest.raises(TypeError, match="got int"):
        get_config(3)


def test_an_unknown_field_is_named():
    with pytest.raises(ValueError, match=r"unknown config field classes.*num_classes"):
        get_config("mobilevit_s", classes=10)


@pytest.mark.parametrize("field", ["num_classes", "image_size", "stem_channels", "patch_size"])
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_must_be_positive(field, value):
    with pytest.raises(ValueError, match=f"{field} must be positive, got {value}"):
        get_config("mobilevit_s", **{field: value})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_classes", "3", "num_classes must be a whole number, got '3'"),
        ("num_classes", 2.5, "num_classes must be a whole number, got 2.5"),
        ("num_classes", None, "num_classes must be a whole number, got None"),
        ("num_heads", True, "num_heads must be a whole number, got True"),
        ("patch_size", 2.0, "patch_size must be a whole number, got 2.0"),
        ("stage_channels", (32, 64, 96, 128, math.inf), "stage_channels must be a whole number, got inf"),
        ("transformer_layers", 3, "transformer_layers must be a list of 3 whole numbers, got 3"),
        ("transformer_layers", {2: 1, 4: 1, 3: 1}, "transformer_layers must be a list of 3 whole numbers"),
        ("expand_ratio", "4", "expand_ratio must be a number, got '4'"),
        ("mlp_ratio", True, "mlp_ratio must be a number, got True"),
    ],
)
def test_fields_of_another_type_are_refused(field, value, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        get_config("mobilevit_s", **{field: value})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("transformer_layers", (10**12, 4, 3), "transformer_layers must be at most 1000, got 1000000000000"),
        ("stage_channels", (32, 64, 96, 128, 2**21), "stage_channels must be at most 1048576, got 2097152"),
        ("num_classes", 10**12, "num_classes must be at most 1048576"),
        ("num_heads", 2**70, "num_heads must be at most"),
        ("image_size", 10**6, "image_size must be at most 8192"),
        ("patch_size", 10**6, "patch_size must be at most 1024"),
        ("expand_ratio", math.inf, "expand_ratio must be at most 64.0, got inf"),
        ("mlp_ratio", math.nan, "mlp_ratio must be at most 64.0, got nan"),
        ("mlp_ratio", 1e-3, "mlp_ratio 0.001 leaves nothing of a width of 144"),
        ("layer_norm_eps", 10**400, "layer_norm_eps must be at most 1.0"),
        ("batch_norm_eps", -math.inf, "batch_norm_eps must be positive, got -inf"),
    ],
)
def test_numbers_that_no_model_can_have_are_refused(field, value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        get_config("mobilevit_s", **{field: value})


def test_a_name_of_a_variant_is_a_string():
    with pytest.raises(TypeError, match="name must be a string, got 3"):
        dataclasses.replace(MODELS["mobilevit_s"], name=3)


def test_numbers_of_numpy_become_those_of_python():
    config = get_config("mobilevit_s", num_classes=np.int64(10), mlp_ratio=np.float32(2.0), expand_ratio=4)
    assert config == get_config("mobilevit_s", num_classes=10)
    assert json.loads(json.dumps(dataclasses.asdict(config)))["num_classes"] == 10


def test_lists_have_one_entry_for_each_stage():
    with pytest.raises(ValueError, match="stage_channels needs 5 entries, got 2"):
        get_config("mobilevit_s", stage_channels=(1, 2))


def test_heads_divide_the_transformer_width():
    with pytest.raises(ValueError, match="multiples of 5 heads, got 144"):
        get_config("mobilevit_s", num_heads=5)


def test_lists_become_tuples_so_that_configs_stay_hashable():
    config = get_config("mobilevit_s", transformer_dims=[144, 192, 240])
    assert isinstance(config, ModelConfig)
    assert hash(config) == hash(get_config("mobilevit_s"))


@pytest.mark.parametrize(("value", "expected"), [(1, 8), (8, 8), (11, 16), (12, 16), (19, 24), (100, 104)])
def test_make_divisible_never_loses_a_tenth(value, expected):
    assert make_divisible(value, 8) == expected

"""Plans with one thing wrong: whatever it is, the engine refuses them or runs, and never crashes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile_arrays import hostile
from mobilevit_fast import _C
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.benchmark.random_weights import random_tensors
from mobilevit_fast.config import get_config
from mobilevit_fast.lower import lower
from mobilevit_fast.lower_quantized import lower_quantized
from mobilevit_fast.weights import LayerFormat, layer_shapes

REFUSALS = (TypeError, ValueError, MemoryError)


@pytest.fixture(scope="module", params=["fp32", "int8", "mixed"])
def plan(request) -> dict[str, Any]:
    if request.param == "fp32":
        config = get_config("mobilevit_xxs", num_classes=7)
        return lower(config, random_tensors(config))
    config = get_config("mobilevit_xxs")
    formats = {}
    if request.param == "mixed":
        formats = {
            name: LayerFormat("int8", "float") for name in layer_shapes(config) if ".attention." in name
        }
        formats["stages.2.1.local"] = LayerFormat("int8", "float")
        formats["stages.2.1.project"] = LayerFormat("int8", "dynamic")
        formats["classifier"] = LayerFormat("fp32", "float")
    return lower_quantized(random_quantized("mobilevit_xxs", formats=formats))


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths to everything inside a plan."""
    if path:
        yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


OPTIONAL_KEYS = {
    "image_channels",
    "type",
    "second_input",
    "residual",
    "in_second",
    "stride",
    "activation",
    "algorithm",
    "normalize",
    "epsilon",
    "bias",
    "patch_height",
    "patch_width",
    "input_scale",
    "input_zero",
    "second_zero",
    "input",
    "residual_multiplier",
    "float_output",
    "table",
}
FREE_KEYS = {
    "name",
    "epsilon",
    "scale",
    "input_scale",
    "residual_multiplier",
    "score_scale",
    "output_multiplier",
}


def test_broken_plans_are_refused(plan):
    paths = list(places(plan))

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(paths), st.one_of(hostile(), st.integers(-(2**70), 2**70), st.text(max_size=3)))
    def replace_one(path, value):
        broken = copy.deepcopy(plan)
        at = broken
        for key in path[:-1]:
            at = at[key]
        if isinstance(at[path[-1]], np.ndarray) and np.array_equal(at[path[-1]], value):
            return
        at[path[-1]] = value
        # A number may happen to fit, None stands for the default, and any text is a name.
        try:
            _C.Engine(broken, threads=1, precision="int8").run(np.zeros((1, 3, 9, 9), np.float32))
        except REFUSALS:
            return
        assert (
            isinstance(value, int) or (value is None and path[-1] in OPTIONAL_KEYS) or path[-1] in FREE_KEYS
        )

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from([path for path in paths if isinstance(path[-1], str)]))
    def remove_one(path):
        broken = copy.deepcopy(plan)
        at = broken
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]
        try:
            _C.Engine(broken, threads=1, precision="int8").run(np.zeros((1, 3, 9, 9), np.float32))
        except ValueError:
            return
        assert path[-1] in OPTIONAL_KEYS

    replace_one()
    remove_one()


def test_the_plan_runs_unbroken(plan):
    [logits] = _C.Engine(plan, threads=1, precision="int8").run(np.zeros((1, 3, 9, 9), np.float32))
    assert np.isfinite(logits).all()


def change_step(kind: str, group: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    def change(plan: dict[str, Any]) -> None:
        step = next(step for step in plan["steps"] if step["kind"] == kind)
        (step[group] if group else step).update(values)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_step("int8_stem", "conv", input_zero=256), r"\['input_zero'\] must be from 0 to 255"),
        (change_step("int8_stem", "conv", input_scale=0), "input_scale must be positive"),
        (change_step("int8_stem", "conv", in_second=3), "weight.*must have shape"),
        (
            change_step("int8_inverted_residual", "inverted_residual", residual=True, stride=2),
            "a residual needs stride 1",
        ),
        (change_step("int8_linear", "linear", normalize=True), "bytes cannot be normalised"),
        (change_step("int8_linear", "linear", input="dynamic"), "must not have type bytes"),
        (change_step("int8_linear", "linear", input="static"), "must not have type bytes"),
        (change_step("int8_linear", "linear", input="words"), "expected bytes, static or dynamic"),
        (change_step("int8_linear", "linear", float_output=False), "must have type bytes"),
        (change_step("int8_linear", "linear_weights", table=np.zeros(256, np.uint8)), "takes no table"),
        (change_step("int8_linear", "linear_weights", bias=np.full(64, 2**29 + 1, np.int32)), "is beyond"),
        (change_step("int8_ffn", "", output=0), "in place"),
        (change_step("int8_ffn", "ffn", hidden_zero=-1), "hidden_zero"),
        (change_step("int8_attention", "", heads=7), "7 heads do not divide"),
        (change_step("int8_attention", "", score_scale=float("nan")), "score_scale.* must be finite"),
        (change_step("int8_attention", "", score_scale=-1.0), "score_scale must be positive"),
        (change_step("int8_attention", "", output_multiplier=-1.0), "output_multiplier must be positive"),
        (change_step("int8_layer_norm", "", scale=1e-45), "scale must be positive"),
        (change_step("int8_global_pool", "", zero=300), "zero"),
        (lambda plan: plan["outputs"].append(0), "output 0 has type bytes; put a dequantize step behind it"),
        (lambda plan: plan["tensors"][0].update(type="int8"), "is 'int8'; expected element, float or bytes"),
        (lambda plan: plan["tensors"][1].update(type="float"), "must have type bytes"),
    ],
)
def test_messages_say_what_is_wrong_with_a_step_on_bytes(change, words):
    broken = lower_quantized(random_quantized("mobilevit_xxs"))
    change(broken)
    with pytest.raises(ValueError, match=words):
        _C.Engine(broken, precision="int8")


def test_a_table_without_8_bit_kernels_is_refused():
    if not _C.isa_tables("bf16"):
        pytest.skip("this CPU does not multiply bfloat16")
    with pytest.raises(ValueError, match=r"step 0 \(int8_stem 'stem'\): the kernel table \w+_bf16 has no"):
        _C.Engine(lower_quantized(random_quantized("mobilevit_xxs")), precision="bf16")

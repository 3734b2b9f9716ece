"""_C's arguments: whatever is handed in, an operation answers rightly or raises, and names what was wrong."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile_arrays import hostile, views
from mobilevit_fast import _C

REFUSALS = (TypeError, ValueError, MemoryError)
many = settings(max_examples=60, deadline=None)


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(-1, 1, shape).astype(np.float32)


def norm(channels: int) -> np.ndarray:
    """Weight, bias, mean and variance of a batch norm."""
    return np.concatenate((floats(3, channels), abs(floats(1, channels)) + np.float32(0.1)))


def integers(dtype: type, *shape: int) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.random.default_rng(sum(shape)).integers(limits.min, limits.max, shape, dtype, endpoint=True)


def int8_layer(*shape: int, out: int, prefix: str = "", table: bool = True) -> dict[str, np.ndarray]:
    layer = {
        "weight": integers(np.int8, *shape),
        "bias": integers(np.int16, out).astype(np.int32),
        "multiplier": np.abs(floats(out)) * np.float32(1e-3),
        "offset": floats(out) * np.float32(90) + np.float32(128),
    }
    if table:
        layer["table"] = integers(np.uint8, 256)
    return {prefix + name: values for name, values in layer.items()}


CALLS = {
    "linear": {"x": floats(2, 3, 5), "weight": floats(7, 5), "bias": floats(7), "residual": floats(2, 3, 7)},
    "ffn": {
        "stream": floats(2, 3, 5),
        "up_weight": floats(7, 5),
        "up_bias": floats(7),
        "down_weight": floats(5, 7),
        "down_bias": floats(5),
    },
    "conv3x3": {
        "x": floats(2, 5, 4, 3),
        "weight": floats(6, 3, 3, 5),
        "bias": floats(6),
        "second": floats(2, 5, 4, 2),
    },
    "stem": {"x": floats(2, 3, 5, 4), "weight": floats(6, 3, 3, 3), "bias": floats(6)},
    "dwconv3x3": {"x": floats(2, 5, 4, 3), "weight": floats(3, 3, 3), "bias": floats(3)},
    "inverted_residual": {
        "x": floats(2, 5, 4, 3),
        "expand_weight": floats(8, 3),
        "expand_bias": floats(8),
        "depthwise_weight": floats(3, 3, 8),
        "depthwise_bias": floats(8),
        "project_weight": floats(6, 8),
        "project_bias": floats(6),
    },
    "attention": {"qkv": floats(2, 4, 6, 12), "heads": 2},
    "attention_backward": {"qkv": floats(2, 4, 6, 12), "upstream": floats(2, 4, 6, 4), "heads": 2},
    "weight_gradient": {"x": floats(9, 5), "upstream": floats(9, 7)},
    "batch_norm": {"x": floats(9, 5), "weight": floats(5), "bias": floats(5)},
    "batch_norm_backward": {
        "x": floats(9, 5),
        "upstream": floats(9, 5),
        "weight": floats(5),
        "bias": floats(5),
        "mean": floats(5),
        "variance": floats(5) + np.float32(1.1),
    },
    "layer_norm_backward": {"x": floats(9, 5), "upstream": floats(9, 5), "gamma": floats(5)},
    "conv3x3_weight_gradient": {"x": floats(2, 5, 4, 3), "upstream": floats(2, 5, 4, 6)},
    "norm_linear": {"x": floats(9, 5), "weight": floats(7, 5), "norm": norm(5)},
    "norm_linear_backward": {
        "upstream": floats(9, 7),
        "y": floats(9, 7),
        "x": floats(9, 5),
        "weight": floats(7, 5),
        "y_norm": norm(7),
        "y_gradients": floats(2, 7),
        "norm": norm(5),
        "residual": floats(9, 5),
    },
    "norm_depthwise": {"x": floats(2, 5, 4, 3), "weight": floats(3, 3, 3), "norm": norm(3)},
    "norm_depthwise_backward": {
        "upstream": floats(2, 5, 4, 3),
        "y": floats(2, 5, 4, 3),
        "x": floats(2, 5, 4, 3),
        "weight": floats(3, 3, 3),
        "y_norm": norm(3),
        "y_gradients": floats(2, 3),
        "norm": norm(3),
    },
    "normalize": {"y": floats(9, 5), "norm": norm(5), "residual": floats(9, 5)},
    "layer_norm": {"x": floats(2, 3, 5), "gamma": floats(5), "beta": floats(5)},
    "resize": {"x": floats(2, 5, 4, 3), "height": 3, "width": 6},
    "global_pool": {"x": floats(2, 5, 4, 3)},
    "softmax": {"x": floats(2, 3, 5)},
    "int8_linear": {"x": integers(np.uint8, 2, 3, 5), **int8_layer(7, 5, out=7)},
    "int8_conv3x3": {
        "x": integers(np.uint8, 2, 5, 4, 3),
        "second": integers(np.uint8, 2, 5, 4, 2),
        **int8_layer(6, 3, 3, 5, out=6),
    },
    "int8_dwconv3x3": {"x": integers(np.uint8, 2, 5, 4, 3), **int8_layer(3, 3, 3, out=3)},
    "int8_inverted_residual": {
        "x": integers(np.uint8, 2, 5, 4, 3),
        **int8_layer(8, 3, out=8, prefix="expand_"),
        **int8_layer(3, 3, 8, out=8, prefix="depthwise_"),
        **int8_layer(6, 8, out=6, prefix="project_", table=False),
    },
    "int8_attention": {
        "qkv": integers(np.uint8, 2, 4, 6, 12),
        "heads": 2,
        "score_scale": 1e-4,
        "output_multiplier": 1.0,
        "output_zero": 128,
    },
}
"""A sound call of every operation."""

STRIDED = ["x", "y", "qkv", "upstream", "stream", "residual", "second"]
"""Arguments that are walked by their strides; all others are weights."""


ROWS = ["linear", "ffn", "layer_norm", "softmax", "int8_linear"]
"""Operations on any number of leading dimensions."""


DENSE = [
    "conv3x3_weight_gradient",
    "norm_linear",
    "norm_linear_backward",
    "norm_depthwise",
    "norm_depthwise_backward",
    "normalize",
]
"""Operations that write to dense memory only."""


OVER_ROWS = ["weight_gradient", "batch_norm", "batch_norm_backward", *DENSE]
"""Operations that sum over all rows, or know no case without any, so that none are not as good as some."""


def call(name: str, **changes: object) -> np.ndarray:
    """The operation's answer; of several, the first."""
    answer = getattr(_C.ops, name)(**{**CALLS[name], **changes})
    return answer[0] if isinstance(answer, tuple) else answer


def array_arguments() -> list[tuple[str, str]]:
    arguments = [(op, key) for op in CALLS for key in (*CALLS[op], "out")]
    return [(op, key) for op, key in arguments if not isinstance(CALLS[op].get(key), (int, float))]


def test_every_operation_is_called():
    ops = {name for name, value in inspect.getmembers(_C.ops) if inspect.isroutine(value)}
    assert ops == set(CALLS)


@pytest.mark.parametrize(("op", "argument"), array_arguments())
def test_hostile_arrays_are_refused_or_answered(op, argument):
    expected = call(op)

    @many
    @given(hostile())
    def try_one(value):
        try:
            result = call(op, **{argument: value})
        except REFUSALS:
            return
        # What is left: an optional argument that is None, or another number of images or rows.
        assert result.dtype == expected.dtype
        assert result.ndim == expected.ndim or op in ROWS

    try_one()


@pytest.mark.parametrize(
    ("op", "argument"),
    [
        (op, argument)
        for op, argument in array_arguments()
        if argument in STRIDED or (argument == "out" and op not in DENSE)
    ],
)
def test_strides_do_not_matter(op, argument, isa):
    expected = call(op, isa=isa)
    values = np.empty_like(expected) if argument == "out" else CALLS[op][argument]

    @settings(max_examples=15, deadline=None)
    @given(views(values, unit_last=op != "stem" or argument == "out"))
    def try_one(view):
        result = call(op, isa=isa, **{argument: view})
        if argument == "out":
            assert result is view
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)

    try_one()


@pytest.mark.parametrize(
    ("op", "argument"), [pair for pair in array_arguments() if pair[1] not in (*STRIDED, "out")]
)
def test_weights_may_have_any_strides(op, argument):
    values = CALLS[op][argument]

    @settings(max_examples=15, deadline=None)
    @given(views(values, unit_last=False))
    def try_one(view):
        np.testing.assert_array_equal(call(op, **{argument: view}), call(op))

    try_one()


@pytest.mark.parametrize("op", CALLS)
def test_threads_do_not_change_the_answer(op, isa):
    np.testing.assert_allclose(
        call(op, isa=isa, threads=3), call(op, isa=isa, threads=1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("op", [op for op in CALLS if op not in OVER_ROWS])
def test_no_images_give_an_empty_answer(op):
    args = CALLS[op]
    empty = {key: args[key][:0] for key in STRIDED if key in args}
    assert call(op, **empty).shape == (0, *call(op).shape[1:])


@pytest.mark.parametrize("op", CALLS)
def test_channels_must_be_neighbours(op):
    if op == "stem":
        pytest.skip("images are walked by any strides")
    name = next(key for key in STRIDED if key in CALLS[op])
    with pytest.raises(ValueError, match=f"{name} must have its channels next to one another"):
        call(op, **{name: np.asfortranarray(CALLS[op][name])})


@pytest.mark.parametrize("op", CALLS)
def test_out_must_be_apart_writeable_and_of_the_right_kind(op):
    expected = call(op)
    read_only = np.zeros_like(expected)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        call(op, out=read_only)
    with pytest.raises(TypeError, match=f"out must be a {expected.dtype} NumPy array"):
        call(op, out=expected.astype(np.float64))
    with pytest.raises(ValueError, match=f"out must be a {expected.dtype} NumPy array of shape"):
        call(op, out=np.zeros((*expected.shape, 1), expected.dtype))
    name = next(key for key in STRIDED if key in CALLS[op])
    source = CALLS[op][name]
    memory = np.zeros(source.size + expected.size, expected.dtype)
    shared = memory[: source.size].reshape(source.shape)
    shared[...] = source
    with pytest.raises(ValueError, match=f"out shares memory with {name}"):
        call(op, **{name: shared}, out=memory[source.size - 1 :][: expected.size].reshape(expected.shape))
    apart = call(op, **{name: shared}, out=memory[source.size :].reshape(expected.shape))
    np.testing.assert_allclose(apart, expected, rtol=1e-5, atol=1e-6)


def test_out_must_be_apart_from_the_norms_weights():
    weights = {name: CALLS["layer_norm"][name].copy() for name in ("gamma", "beta")}
    x = floats(1, weights["gamma"].size)
    for name, weight in weights.items():
        with pytest.raises(ValueError, match=f"out shares memory with {name}"):
            _C.ops.layer_norm(x, **weights, out=weight[None])


def test_no_rows_have_no_sums():
    weight, multiplier = np.ones((2, 8), np.int8), np.ones(2, np.float32)
    sums = _C.ops.int8_linear(np.zeros((0, 8), np.uint8), weight, None, multiplier, sums=True)
    assert (sums.shape, sums.dtype) == ((0, 2), np.int32)


def test_integer_sums_that_may_overflow_are_refused():
    weight, multiplier = np.ones((1, 2**14 + 1), np.int8), np.ones(1, np.float32)
    with pytest.raises(ValueError, match="weight sums 16385 products for each output; 32 bits hold 16384"):
        _C.ops.int8_linear(np.ones(weight.shape, np.uint8), weight, None, multiplier)


def test_residual_and_stream_may_be_written_in_place(isa):
    residual, stream = CALLS["linear"]["residual"].copy(), CALLS["ffn"]["stream"].copy()
    np.testing.assert_array_equal(
        call("linear", residual=residual, out=residual, isa=isa), call("linear", isa=isa)
    )
    np.testing.assert_array_equal(call("ffn", stream=stream, out=stream, isa=isa), call("ffn", isa=isa))


@pytest.mark.parametrize(
    ("op", "changes", "error", "words"),
    [
        ("conv3x3", {"stride": 3}, ValueError, "stride must be from 1 to 2"),
        ("conv3x3", {"stride": True}, TypeError, "stride must be an int"),
        ("conv3x3", {"stride": 10**30}, ValueError, "stride must be from 1 to 2"),
        ("conv3x3", {"silu": 1}, TypeError, "silu must be a bool"),
        ("conv3x3", {"algorithm": "fft"}, ValueError, "algorithm is 'fft'; expected direct"),
        ("conv3x3", {"algorithm": "winograd2", "stride": 2}, ValueError, "must be 'direct'"),
        ("conv3x3", {"second": floats(2, 5, 3, 2)}, ValueError, r"second must have shape \(2, 5, 4, 2\)"),
        ("inverted_residual", {"residual": True}, ValueError, "3 in, 6 out"),
        ("attention", {"heads": 5}, ValueError, "5 heads"),
        ("attention", {"heads": 0}, ValueError, "heads must be from 1"),
        ("attention", {"patch": (3, 2)}, ValueError, r"patch \(3, 2\) does not divide"),
        ("attention", {"patch": [2, 2]}, TypeError, "patch must be a tuple"),
        ("attention", {"patch": (2,)}, TypeError, "patch must be a tuple"),
        ("resize", {"height": 0}, ValueError, "height must be from 1"),
        ("resize", {"height": 2**31 - 1, "width": 2**31 - 1}, MemoryError, "smaller images"),
        ("layer_norm", {"epsilon": -1.0}, ValueError, "epsilon must not be negative"),
        ("layer_norm", {"epsilon": float("nan")}, ValueError, "epsilon must be finite"),
        ("layer_norm", {"epsilon": "small"}, TypeError, "epsilon must be a float"),
        ("linear", {"weight": floats(7, 4)}, ValueError, r"weight must have shape \(any, 5\), got \(7, 4\)"),
        ("linear", {"weight": floats(0, 5)}, ValueError, "weight has no elements"),
        ("linear", {"weight": None}, TypeError, "weight must be a float32 NumPy array"),
        ("linear", {"x": np.float32(1)}, TypeError, "got numpy.float32"),
        ("linear", {"isa": "sse9"}, ValueError, "isa='sse9' is not an ISA of this build"),
        ("linear", {"isa": 3}, TypeError, "isa must be a str"),
        ("linear", {"threads": 0}, ValueError, "threads must be from 1 to"),
        ("linear", {"threads": _C.max_threads + 1}, ValueError, "threads must be from 1 to"),
        ("linear", {"threads": 1.5}, TypeError, "threads must be an int"),
    ],
)
def test_messages_name_what_was_wrong(op, changes, error, words):
    with pytest.raises(error, match=words):
        call(op, **changes)


def test_the_environment_caps_the_table(monkeypatch):
    tables = _C.isa_tables()
    assert _C.best_isa() == tables[-1]
    for count, name in enumerate(tables, start=1):
        monkeypatch.setenv("MOBILEVIT_FAST_ISA", name)
        assert _C.isa_tables() == tables[:count]
        assert _C.best_isa() == name
        for above in tables[count:]:
            with pytest.raises(ValueError, match="above the cap"):
                call("softmax", isa=above)
    monkeypatch.setenv("MOBILEVIT_FAST_ISA", "sse9")
    with pytest.raises(ValueError, match="MOBILEVIT_FAST_ISA='sse9' is not an ISA of this build"):
        _C.best_isa()


def test_the_machine_is_described():
    assert _C.isa_tables()[0] == "scalar"
    assert 1 <= _C.default_threads() <= _C.max_threads
    assert all(isinstance(present, bool) for present in _C.cpu_features().values())
    if "avx512" in _C.isa_tables():
        assert _C.cpu_features()["avx512f"]


@many
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.booleans())
def test_linear_takes_any_size(rows, columns, out, silu):
    x, weight = floats(rows, columns), floats(out, columns)
    expected = x.astype(np.float64) @ weight.T.astype(np.float64)
    if silu:
        expected = expected / (1 + np.exp(-expected))
    np.testing.assert_allclose(_C.ops.linear(x, weight, silu=silu), expected, rtol=1e-4, atol=1e-5)

"""_C.ops.int8_* on every kernel table against integer loops: results must be equal."""

import numpy as np
import pytest
from int8_oracles import ORACLES, attention_weights, fma, linear_sums, quantize
from int8_samples import DRAWS, INT8_SAMPLES

from mobilevit_fast import _C

on_every_sample = pytest.mark.parametrize("sample", INT8_SAMPLES, ids=str)


def call(sample, arrays, **options):
    return getattr(_C.ops, sample.op)(**arrays, **sample.options, **options)


def expected_of(sample, arrays):
    return ORACLES[sample.op](**arrays, **sample.options)


def test_the_oracle_rounds_once():
    # Just below the middle between two float32 numbers; float64 holds only the middle, a tie.
    step = 2.0**-23
    a, b, c = (np.float32([value]) for value in (1 + step, step / 2 * (1 - step), 1 + step))
    assert fma(a, b, c) == c
    assert (np.float64(a) * np.float64(b) + c).astype(np.float32) > c


@on_every_sample
@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("threads", [1, 3])
def test_bytes_equal_integer_loops(sample, draw, threads, isa):
    arrays = sample.arrays(draw)
    expected = expected_of(sample, arrays)
    actual = call(sample, arrays, isa=isa, threads=threads)
    assert actual.dtype == np.uint8
    np.testing.assert_array_equal(actual, expected)
    assert draw != "random" or expected.size < 8 or expected.std() > 8


@on_every_sample
def test_what_may_be_left_out_is_zero_or_the_identity(sample, isa):
    optional = ("bias", "offset", "table")
    arrays = {
        key: None if key.split("_")[-1] in optional else value for key, value in sample.arrays().items()
    }
    np.testing.assert_array_equal(call(sample, arrays, isa=isa), expected_of(sample, arrays))


@pytest.mark.parametrize("draw", DRAWS)
def test_sums_of_bytes_are_exact(draw, isa):
    for sample in INT8_SAMPLES[:2]:
        arrays = sample.arrays(draw)
        sums = call(sample, arrays, sums=True, isa=isa)
        assert sums.dtype == np.int32
        zero = sample.options["input_zero"]
        np.testing.assert_array_equal(sums, linear_sums(arrays["x"], arrays["weight"], arrays["bias"], zero))


def float_layer(rng, channels, out):
    return {
        "weight": rng.integers(-128, 128, (out, channels), dtype=np.int8),
        "bias": rng.integers(-3000, 3000, out, dtype=np.int32),
        "multiplier": rng.uniform(1e-3, 1e-2, out).astype(np.float32),
        "offset": rng.uniform(-1, 1, out).astype(np.float32),
    }


def test_floats_are_quantised_with_a_given_scale(isa):
    rng = np.random.default_rng(3)
    layer = float_layer(rng, 45, 37)
    x = rng.uniform(-6, 6, (2, 11, 45)).astype(np.float32)
    x[0, 0, :3] = np.inf, -np.inf, 1e30
    sums = linear_sums(quantize(x, 0.041, 121), layer["weight"], layer["bias"], 121)
    options = {"input_zero": 121, "input_scale": 0.041, "isa": isa}
    np.testing.assert_array_equal(_C.ops.int8_linear(x, **layer, sums=True, **options), sums)
    expected = fma(sums.astype(np.float32), layer["multiplier"], layer["offset"])
    actual = _C.ops.int8_linear(x, **layer, float_output=True, **options)
    np.testing.assert_array_equal(actual, expected)
    residual = rng.uniform(-1, 1, expected.shape).astype(np.float32)
    actual = _C.ops.int8_linear(x, **layer, float_output=True, residual=residual, **options)
    np.testing.assert_array_equal(actual, expected + residual)
    silu = _C.ops.int8_linear(x, **layer, float_output=True, silu=True, **options)
    exponent = np.clip(-expected.astype(np.float64), None, 100)
    np.testing.assert_allclose(silu, expected / (1 + np.exp(exponent)), rtol=1e-5, atol=1e-6)


def test_floats_are_quantised_by_each_rows_range(isa):
    rng = np.random.default_rng(4)
    layer = float_layer(rng, 33, 20)
    x = rng.uniform(-3, 4, (9, 33)).astype(np.float32)
    x[0] = 0
    x[1] = np.abs(x[1])
    low, high = np.minimum(x.min(1), 0), np.maximum(x.max(1), 0)
    scale = (high - low) / np.float32(255)
    scale[0] = 1
    zero = np.rint(-low / scale).astype(np.int64)
    codes = np.stack([quantize(row, s, z) for row, s, z in zip(x, scale, zero, strict=True)])
    sums = linear_sums(codes, layer["weight"], layer["bias"], zero[:, None])
    np.testing.assert_array_equal(_C.ops.int8_linear(x, **layer, sums=True, isa=isa), sums)
    expected = fma(sums.astype(np.float32), layer["multiplier"] * scale[:, None], layer["offset"])
    np.testing.assert_array_equal(_C.ops.int8_linear(x, **layer, float_output=True, isa=isa), expected)


def test_attention_weights_are_near_exponentials():
    scores = -np.arange(0, 40000)
    exact = 255 * np.exp2(scores / 2048)
    actual = attention_weights(scores, np.log(2) / 2048)
    assert actual[0] == 255
    error = actual - exact
    assert np.abs(error).max() < 0.9
    assert np.sqrt(np.mean(error[: 8 * 2048] ** 2)) < 0.32  # rounding alone has 0.29
    assert np.all(np.diff(actual) <= 0)


def test_attention_is_near_real_softmax(isa):
    rng = np.random.default_rng(5)
    heads, head_dim, side = 4, 24, 16
    qkv = rng.normal(128, 30, (1, side, side, 3 * heads * head_dim)).clip(0, 255).astype(np.uint8)
    scale = 1 / (900 * np.sqrt(head_dim))
    actual = _C.ops.int8_attention(qkv, heads, scale, 3.0, 128, isa=isa)
    centred = (qkv.astype(np.float32) - 128) * np.float32(np.sqrt(scale * np.sqrt(head_dim)))
    exact = _C.ops.attention(centred, heads, isa=isa) / np.sqrt(scale * np.sqrt(head_dim)) * 3 + 128
    error = actual - exact
    assert np.abs(error).max() < 4
    assert np.sqrt(np.mean(error**2)) < 0.6
    assert exact.std() > 8


SAMPLE_OF = {sample.op: sample for sample in INT8_SAMPLES}


@pytest.mark.parametrize(
    ("op", "changes", "error", "words"),
    [
        ("int8_linear", {"x": np.zeros((2, 24), np.int8)}, TypeError, "x must be a uint8 or float32 NumPy"),
        ("int8_linear", {"x": [[1]]}, TypeError, "x must be a uint8 or float32 NumPy array, got list"),
        ("int8_linear", {"weight": np.zeros((2, 5), np.uint8)}, TypeError, "weight must be an int8 NumPy"),
        ("int8_linear", {"bias": np.zeros(1, np.int64)}, TypeError, "bias must be an int32 NumPy array"),
        ("int8_linear", {"multiplier": None}, TypeError, "multiplier must be a float32 NumPy array"),
        ("int8_linear", {"offset": np.zeros(2, np.float32)}, ValueError, r"offset must have shape \(1,\)"),
        ("int8_linear", {"table": np.zeros(255, np.uint8)}, ValueError, r"table must have shape \(256,\)"),
        ("int8_linear", {"input_zero": 256}, ValueError, "input_zero must be from 0 to 255"),
        ("int8_linear", {"input_zero": 1.0}, TypeError, "input_zero must be an int"),
        ("int8_linear", {"input_scale": 0.1}, ValueError, "input_scale needs float32 rows"),
        ("int8_linear", {"normalize": True}, ValueError, "normalize=True needs float32 rows"),
        ("int8_linear", {"silu": True}, ValueError, "silu=True needs float_output=True"),
        (
            "int8_linear",
            {"residual": np.zeros(1, np.float32)},
            ValueError,
            "residual needs float_output=True",
        ),
        ("int8_linear", {"float_output": True}, ValueError, "table needs byte output"),
        ("int8_linear", {"x": np.zeros(5, np.float32)}, ValueError, "x of float32 needs an input_scale"),
        (
            "int8_linear",
            {"x": np.zeros(5, np.float32), "input_scale": -1.0},
            ValueError,
            "input_scale must be above 0, got -1.0",
        ),
        ("int8_conv3x3", {"stride": 3}, ValueError, "stride must be from 1 to 2"),
        ("int8_conv3x3", {"second_zero": -1}, ValueError, "second_zero must be from 0 to 255"),
        (
            "int8_dwconv3x3",
            {"weight": np.zeros((3, 3, 4), np.int8)},
            ValueError,
            r"weight must have shape \(3, 3, 33\), got \(3, 3, 4\)",
        ),
        (
            "int8_inverted_residual",
            {"project_weight": np.zeros((4, 9), np.int8), "residual_multiplier": 1.0},
            ValueError,
            r"project_bias must have shape \(4,\)",
        ),
        ("int8_inverted_residual", {"residual_multiplier": 1.0, "stride": 2}, ValueError, "got stride 2"),
        ("int8_attention", {"score_scale": 0.0}, ValueError, "score_scale must be above 0, got 0.0"),
        ("int8_attention", {"output_multiplier": float("nan")}, ValueError, "must be finite"),
        ("int8_attention", {"heads": 5}, ValueError, "5 heads"),
        ("int8_attention", {"patch": (3, 3)}, ValueError, r"patch \(3, 3\) does not divide"),
        (
            "int8_attention",
            {"qkv": np.zeros((1, 1, 65537, 3), np.uint8), "heads": 1, "patch": (1, 1)},
            ValueError,
            "65537 tokens",
        ),
    ],
)
def test_messages_name_what_was_wrong(op, changes, error, words):
    sample = SAMPLE_OF[op]
    with pytest.raises(error, match=words):
        getattr(_C.ops, op)(**{**sample.arrays(), **sample.options, **changes})

"""Single operations on every kernel table, on one thread, at shapes of the network; packing is included."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mobilevit_fast import _C

RNG = np.random.default_rng(0)


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


def linear(pixels: int, inputs: int, out: int) -> tuple[Callable, tuple, dict, int]:
    arguments = array(pixels, inputs), array(out, inputs), array(out)
    return _C.ops.linear, arguments, {"silu": True}, pixels * inputs * out


def ffn(pixels: int, dim: int) -> tuple[Callable, tuple, dict, int]:
    arguments = array(pixels, dim), array(2 * dim, dim), array(2 * dim), array(dim, 2 * dim), array(dim)
    return _C.ops.ffn, arguments, {}, pixels * dim * dim * 4


def conv3x3(side: int, inputs: int, out: int, algorithm: str) -> tuple[Callable, tuple, dict, int]:
    arguments = array(1, side, side, inputs), array(out, 3, 3, inputs), array(out)
    return _C.ops.conv3x3, arguments, {"silu": True, "algorithm": algorithm}, side * side * inputs * out * 9


def inverted_residual(side: int, inputs: int, out: int, stride: int) -> tuple[Callable, tuple, dict, int]:
    expanded, pixels = 4 * inputs, (side // stride) ** 2
    weights = array(expanded, inputs), array(expanded), array(3, 3, expanded), array(expanded)
    arguments = array(1, side, side, inputs), *weights, array(out, expanded), array(out)
    macs = side * side * inputs * expanded + pixels * expanded * (9 + out)
    return _C.ops.inverted_residual, arguments, {"stride": stride}, macs


def attention(side: int, dim: int) -> tuple[Callable, tuple, dict, int]:
    tokens = side * side // 4
    return _C.ops.attention, (array(1, side, side, 3 * dim), 4), {}, 4 * 2 * tokens * tokens * dim


OPERATIONS = {
    "linear 1024x144->432": linear(1024, 144, 432),
    "linear 64x160->640": linear(64, 160, 640),
    "linear 4096x64->16": linear(4096, 64, 16),
    "ffn 1024x144": ffn(1024, 144),
    "ffn 64x240": ffn(64, 240),
    "conv3x3 32x32x96 direct": conv3x3(32, 96, 96, "direct"),
    "conv3x3 32x32x96 winograd4": conv3x3(32, 96, 96, "winograd4"),
    "conv3x3 8x8x160 winograd2": conv3x3(8, 160, 160, "winograd2"),
    "inverted_residual 128x128x16->32": inverted_residual(128, 16, 32, 1),
    "inverted_residual 128x128x32->64/2": inverted_residual(128, 32, 64, 2),
    "attention 32x32x144": attention(32, 144),
    "attention 8x8x240": attention(8, 240),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(benchmark, name, isa):
    call, arguments, options, macs = OPERATIONS[name]
    benchmark.group = name
    benchmark(call, *arguments, **options, isa=isa, threads=1)
    # Without statistics (--benchmark-disable) there is nothing to divide by.
    if benchmark.stats:
        benchmark.extra_info["gmacs_per_second"] = macs / benchmark.stats.stats.median / 1e9

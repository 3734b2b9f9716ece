"""Sample calls of every operation on bytes: sizes around the vector width, strides, zero points, tables, and
values at their ends.
"""

from dataclasses import dataclass, field

import numpy as np

DRAWS = ("random", "largest", "smallest")


@dataclass(frozen=True)
class Int8Sample:
    """One call in the layouts of `_C.ops`; `options` are its settings."""

    op: str
    sizes: tuple
    options: dict = field(default_factory=dict)

    def __str__(self):
        sizes = "x".join(map(str, self.sizes))
        return f"{self.op}-{sizes}-{'-'.join(f'{key}={value}' for key, value in self.options.items())}"

    def arrays(self, draw="random"):
        """The array arguments by name: at random, or so that sums become as large as they can."""
        return BUILDERS[self.op](np.random.default_rng(7), draw, *self.sizes)


def byte_map(rng, draw, *shape):
    if draw == "random":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return np.full(shape, 255, np.uint8)


def layer(rng, draw, shape, summed, prefix="", table=True, out_axis=0):
    """A layer's arrays: multipliers that spread its sums over the bytes."""
    out = shape[out_axis]
    weight = (
        rng.integers(-128, 128, shape, dtype=np.int8)
        if draw == "random"
        else np.full(shape, 127 if draw == "largest" else -128, np.int8)
    )
    typical = 1 / (100 * np.sqrt(summed)) if draw == "random" else 1 / (140 * summed)
    values = {
        "weight": weight,
        "bias": rng.integers(-3000, 3000, out, dtype=np.int32),
        "multiplier": rng.uniform(0.3 * typical, 2 * typical, out).astype(np.float32),
        "offset": rng.uniform(0, 255, out).astype(np.float32),
    }
    if table:
        values["table"] = rng.permutation(256).astype(np.uint8)
    return {prefix + key: value for key, value in values.items()}


def linear(rng, draw, rows, channels, out):
    return {"x": byte_map(rng, draw, *rows, channels), **layer(rng, draw, (out, channels), channels)}


def conv3x3(rng, draw, height, width, channels, second, out):
    arrays = {
        "x": byte_map(rng, draw, 2, height, width, channels),
        **layer(rng, draw, (out, 3, 3, channels + second), 9 * (channels + second)),
    }
    return arrays if second == 0 else {**arrays, "second": byte_map(rng, draw, 2, height, width, second)}


def dwconv3x3(rng, draw, height, width, channels):
    return {
        "x": byte_map(rng, draw, 2, height, width, channels),
        **layer(rng, draw, (3, 3, channels), 9, out_axis=2),
    }


def inverted_residual(rng, draw, height, width, channels, expanded, out):
    return {
        "x": byte_map(rng, draw, 2, height, width, channels),
        **layer(rng, draw, (expanded, channels), channels, "expand_"),
        **layer(rng, draw, (3, 3, expanded), 9, "depthwise_", out_axis=2),
        **layer(rng, draw, (out, expanded), expanded, "project_", table=False),
    }


def attention(rng, draw, height, width, channels):
    qkv = byte_map(rng, "random", 2, height, width, channels)
    if draw != "random":  # all keys alike, so that every weight is the largest
        qkv[..., : channels * 2 // 3] = 255 if draw == "largest" else 0
    return {"qkv": qkv}


BUILDERS = {
    "int8_linear": linear,
    "int8_conv3x3": conv3x3,
    "int8_dwconv3x3": dwconv3x3,
    "int8_inverted_residual": inverted_residual,
    "int8_attention": attention,
}


def attention_options(heads, score_scale, patch=(2, 2)):
    return {
        "heads": heads,
        "score_scale": score_scale,
        "output_multiplier": 0.9,
        "output_zero": 119,
        "patch": patch,
    }


INT8_SAMPLES = [
    Int8Sample("int8_linear", ((9,), 24, 17), {"input_zero": 119}),
    Int8Sample("int8_linear", ((2, 3, 5), 33, 48), {"input_zero": 255}),
    Int8Sample("int8_linear", ((), 5, 1)),
    Int8Sample("int8_conv3x3", (9, 8, 3, 0, 16), {"stride": 2, "input_zero": 113}),
    Int8Sample("int8_conv3x3", (7, 7, 24, 21, 17), {"input_zero": 3, "second_zero": 200}),
    Int8Sample("int8_conv3x3", (1, 3, 5, 0, 1), {"input_zero": 255}),
    Int8Sample("int8_dwconv3x3", (6, 5, 16), {"input_zero": 128}),
    Int8Sample("int8_dwconv3x3", (5, 9, 71), {"stride": 2, "input_zero": 255}),
    Int8Sample("int8_dwconv3x3", (1, 1, 33), {"input_zero": 0}),
    Int8Sample(
        "int8_inverted_residual",
        (6, 7, 16, 32, 16),
        {"residual_multiplier": 0.37, "input_zero": 120, "expanded_zero": 9, "depthwise_zero": 14},
    ),
    Int8Sample("int8_inverted_residual", (7, 5, 12, 40, 20), {"stride": 2, "expanded_zero": 255}),
    Int8Sample("int8_inverted_residual", (1, 1, 5, 9, 5), {"depthwise_zero": 200}),
    Int8Sample("int8_attention", (8, 12, 48), attention_options(4, 1e-4)),
    Int8Sample("int8_attention", (6, 6, 3 * 2 * 17), attention_options(2, 3e-3, (3, 2))),
    Int8Sample("int8_attention", (1, 1, 9), attention_options(1, 1.0, (1, 1))),
    Int8Sample("int8_attention", (16, 16, 3 * 36), attention_options(1, 5e-5)),
]

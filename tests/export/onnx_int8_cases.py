"""Nodes of our domain on bytes to run, as `onnx_cases` has those on floats."""

from __future__ import annotations

from collections.abc import Callable

import torch
from onnx_cases import EPSILON, Case, normalize, operations
from torch import Tensor

from mobilevit_fast.model.blocks import to_tokens

INPUT_SCALE = 0.03


class Made:
    """Numbers of one seed."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def integers(self, shape: tuple[int, ...], dtype: torch.dtype, least: int, greatest: int) -> Tensor:
        return torch.randint(least, greatest + 1, shape, generator=self.generator).to(dtype)

    def bytes(self, *shape: int) -> Tensor:
        return self.integers(shape, torch.uint8, 0, 255)

    def floats(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def layer(self, *shape: int, scale: float = 1.0, table: bool = True) -> list[Tensor]:
        """weight, bias, multiplier, offset and table, for sums that spread over the bytes."""
        out, terms = shape[0], torch.Size(shape[1:]).numel()
        made = [
            self.integers(shape, torch.int8, -127, 127),
            self.integers((out,), torch.int32, -1000, 1000),
            scale * (0.5 + torch.rand(out, generator=self.generator)) / (100 * terms**0.5),
            120 + 10 * torch.rand(out, generator=self.generator),
        ]
        return [*made, self.bytes(256)] if table else made


def places(inputs: list[Tensor], first: int) -> set[int]:
    return set(range(first, len(inputs)))


def convolution(stride: int) -> Case:
    made = Made()
    x, layer = made.bytes(2, 6, 9, 8), made.layer(5, 6, 3, 3)
    inputs = [to_tokens(x), *layer]
    expected = to_tokens(operations.int8_conv3x3(x, *layer, stride, 77))
    return Case(inputs, places(inputs, 1), expected, {"strides": [stride] * 2, "input_zero": 77})


def joined_convolution() -> Case:
    made = Made()
    x, second, layer = made.bytes(2, 4, 9, 8), made.bytes(2, 4, 9, 8), made.layer(5, 8, 3, 3)
    inputs = [to_tokens(x), to_tokens(second), *layer]
    expected = to_tokens(operations.int8_conv3x3(x, *layer, 1, 77, second, 200))
    attributes = {"strides": [1, 1], "input_zero": 77, "second_zero": 200}
    return Case(inputs, places(inputs, 2), expected, attributes)


def to_bytes(x: Tensor, zero: int) -> Tensor:
    return (x / INPUT_SCALE).round().add(zero).clamp(0, 255).to(torch.uint8)


def planar_convolution() -> Case:
    made = Made()
    x, layer = made.floats(2, 3, 9, 8), made.layer(5, 3, 3, 3)
    inputs = [x, *layer]
    expected = to_tokens(operations.int8_conv3x3(to_bytes(x, 77), *layer, 2, 77))
    attributes = {"strides": [2, 2], "input_scale": INPUT_SCALE, "input_zero": 77}
    return Case(inputs, places(inputs, 1), expected, attributes)


def inverted_residual(stride: int, adds: bool) -> Case:
    made = Made()
    x, expand = made.bytes(2, 6, 8, 10), made.layer(12, 6, 1, 1)
    depthwise, project = made.layer(12, 1, 3, 3), made.layer(6, 12, 1, 1, table=False)
    zeros = {"input_zero": 77, "expanded_zero": 30, "depthwise_zero": 50}
    inputs = [to_tokens(x), *expand, *depthwise, *project]
    factor = 0.25 if adds else None
    expected = operations.int8_inverted_residual(
        x, *expand, *depthwise, *project, stride, factor, *zeros.values()
    )
    attributes = {"strides": [stride] * 2, "group": 12, **zeros}
    if factor is not None:
        attributes["residual_multiplier"] = factor
    return Case(inputs, places(inputs, 1), to_tokens(expected), attributes)


def linear() -> Case:
    made = Made()
    inputs = [made.bytes(2, 3, 5, 6), *made.layer(4, 6)]
    expected = operations.int8_linear(*inputs, None, 77)
    return Case(inputs, places(inputs, 1), expected, {"input_zero": 77})


def normalized_linear() -> Case:
    made = Made()
    x, layer = made.floats(2, 3, 5, 6), made.layer(4, 6, table=False)
    expected = operations.int8_linear(normalize(x), *layer, None, None, 77, INPUT_SCALE)
    attributes = {"input_scale": INPUT_SCALE, "input_zero": 77, "epsilon": EPSILON}
    return Case([x, *layer], {1, 2, 3, 4}, expected, attributes)


def quantized_linear() -> Case:
    made = Made()
    x, layer = made.floats(2, 3, 5, 6), made.layer(4, 6, table=False)
    expected = operations.int8_linear(x, *layer, None, None, 77, INPUT_SCALE, float_output=True)
    return Case([x, *layer], {1, 2, 3, 4}, expected, {"input_scale": INPUT_SCALE, "input_zero": 77})


def linear_to_floats(adds: bool) -> Case:
    made = Made()
    x, layer, residual = made.bytes(2, 3, 5, 6), made.layer(4, 6, table=False), made.floats(2, 3, 5, 4)
    added = residual if adds else None
    expected = operations.int8_linear(x, *layer, None, added, 77, float_output=True)
    inputs = [x, *layer, *([residual] if adds else [])]
    return Case(inputs, {1, 2, 3, 4}, expected, {"input_zero": 77})


def ffn() -> Case:
    made = Made()
    x, up, down = made.floats(2, 3, 5, 6), made.layer(12, 6), made.layer(6, 12, table=False)[:3]
    hidden = operations.int8_linear(normalize(x), *up, None, 77, INPUT_SCALE)
    expected = operations.int8_linear(hidden, *down, None, None, x, 30, float_output=True)
    attributes = {"input_scale": INPUT_SCALE, "input_zero": 77, "hidden_zero": 30, "epsilon": EPSILON}
    inputs = [x, *up, *down]
    return Case(inputs, places(inputs, 1), expected, attributes)


def attention(patch: tuple[int, int]) -> Case:
    qkv = Made().bytes(2, 4, 6, 24)
    numbers = {"score_scale": 1e-4, "output_multiplier": 1.5, "output_zero": 100}
    expected = operations.int8_attention(qkv, 2, *numbers.values(), *patch)
    return Case([qkv], set(), expected, {"heads": 2, "patch": list(patch), **numbers})


def layer_norm() -> Case:
    made = Made()
    x, gamma, beta = made.floats(2, 3, 5, 6), made.floats(6), made.floats(6)
    expected = to_bytes(normalize(x) * gamma + beta, 77)
    attributes = {"scale": INPUT_SCALE, "zero": 77, "epsilon": EPSILON}
    return Case([x, gamma, beta], {1, 2}, expected, attributes)


def global_pool() -> Case:
    x = Made().bytes(2, 3, 5, 6)
    expected = INPUT_SCALE * (x.double() - 77).mean(dim=(1, 2)).float()
    return Case([x], set(), expected, {"scale": INPUT_SCALE, "zero": 77})


INT8_CASES: dict[str, list[Callable[[], Case]]] = {
    "Int8Conv3x3": [lambda: convolution(1), lambda: convolution(2)],
    "Int8JoinedConv3x3": [joined_convolution],
    "Int8PlanarConv3x3": [planar_convolution],
    "Int8InvertedResidual": [lambda: inverted_residual(2, False), lambda: inverted_residual(1, False)],
    "Int8InvertedResidualAdd": [lambda: inverted_residual(1, True)],
    "Int8Linear": [linear],
    "Int8NormalizedLinear": [normalized_linear],
    "Int8QuantizedLinear": [quantized_linear],
    "Int8LinearFloat": [lambda: linear_to_floats(False)],
    "Int8LinearFloatAdd": [lambda: linear_to_floats(True)],
    "Int8Ffn": [ffn],
    "Int8LayerNorm": [layer_norm],
    "Int8GlobalPool": [global_pool],
    "Int8Attention": [lambda: attention((2, 2)), lambda: attention((1, 3))],
}
"""Name -> what makes its cases."""

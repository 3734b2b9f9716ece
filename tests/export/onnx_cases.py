"""Nodes of our domain to run: for each name of `onnx_functions` inputs, attributes and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.export import onnx_functions
from mobilevit_fast.export.onnx_format import OPSET
from mobilevit_fast.export.onnx_nodes import DOMAIN, VERSION
from mobilevit_fast.model.blocks import to_tokens

EPSILON = 1e-3
"""Large enough to be missed where it is ignored."""

operations = torch.ops.mobilevit_fast


@dataclass
class Case:
    """One node. `weights` are the places of the inputs that are initializers of the file."""

    inputs: list[Tensor]
    weights: set[int]
    expected: Tensor
    attributes: dict[str, Any] = field(default_factory=dict)


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def convolution(stride: int, silu: bool, size: tuple[int, int], planar: bool = False) -> Case:
    channels = 3 if planar else 6
    x, weight, bias = tensors((2, channels, *size), (5, channels, 3, 3), (5,))
    expected = to_tokens(operations.conv3x3(x, weight, bias, stride, silu))
    given = x if planar else to_tokens(x)
    return Case([given, weight, bias], {1, 2}, expected, {"strides": [stride, stride]})


def joined_convolution() -> Case:
    x, second, weight, bias = tensors((2, 4, 9, 13), (2, 4, 9, 13), (5, 8, 3, 3), (5,))
    expected = operations.conv3x3(torch.cat((x, second), dim=1), weight, bias, 1, True)
    inputs = [to_tokens(x), to_tokens(second), weight, bias]
    return Case(inputs, {2, 3}, to_tokens(expected), {"strides": [1, 1]})


def depthwise(stride: int, silu: bool) -> Case:
    x, weight, bias = tensors((2, 6, 9, 8), (6, 1, 3, 3), (6,))
    expected = to_tokens(operations.dwconv3x3(x, weight, bias, stride, silu))
    attributes = {"strides": [stride, stride], "group": 6}
    return Case([to_tokens(x), weight, bias], {1, 2}, expected, attributes)


def inverted_residual(stride: int, adds: bool) -> Case:
    shapes = ((2, 6, 8, 10), (12, 6, 1, 1), (12,), (12, 1, 3, 3), (12,), (6, 12, 1, 1), (6,))
    x, *layers = tensors(*shapes)
    expected = to_tokens(operations.inverted_residual(x, *layers, stride, adds))
    attributes = {"strides": [stride, stride], "group": 12}
    return Case([to_tokens(x), *layers], set(range(1, 7)), expected, attributes)


def linear(silu: bool, adds: bool) -> Case:
    x, weight, bias, residual = tensors((2, 3, 5, 6), (4, 6), (4,), (2, 3, 5, 4))
    expected = operations.linear(x, weight, bias, residual if adds else None, silu)
    return Case([x, weight, bias, *([residual] if adds else [])], {1, 2}, expected)


def normalize(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], eps=EPSILON)


def normalized_linear() -> Case:
    x, weight, bias = tensors((2, 3, 5, 6), (4, 6), (4,))
    expected = operations.linear(normalize(x), weight, bias)
    return Case([x, weight, bias], {1, 2}, expected, {"epsilon": EPSILON})


def ffn() -> Case:
    x, up, up_bias, down, down_bias = tensors((2, 3, 5, 6), (12, 6), (12,), (6, 12), (6,))
    hidden = operations.linear(normalize(x), up, up_bias, None, True)
    expected = operations.linear(hidden, down, down_bias, x)
    return Case([x, up, up_bias, down, down_bias], {1, 2, 3, 4}, expected, {"epsilon": EPSILON})


def attention(patch: tuple[int, int]) -> Case:
    [qkv] = tensors((2, 4, 6, 24))
    attributes = {"heads": 2, "patch": list(patch)}
    return Case([qkv], set(), operations.attention(qkv, 2, *patch), attributes)


CASES: dict[str, list[Callable[[], Case]]] = {
    "Conv3x3": [
        lambda: convolution(2, False, (9, 8)),
        lambda: convolution(1, False, (2, 7)),
        lambda: convolution(1, False, (14, 13)),
    ],
    "Conv3x3Silu": [lambda: convolution(1, True, (9, 8))],
    "JoinedConv3x3Silu": [joined_convolution],
    "PlanarConv3x3Silu": [lambda: convolution(2, True, (9, 8), planar=True)],
    "DwConv3x3": [lambda: depthwise(1, False)],
    "DwConv3x3Silu": [lambda: depthwise(2, True)],
    "InvertedResidual": [lambda: inverted_residual(2, False), lambda: inverted_residual(1, False)],
    "InvertedResidualAdd": [lambda: inverted_residual(1, True)],
    "Linear": [lambda: linear(False, False)],
    "LinearSilu": [lambda: linear(True, False)],
    "LinearAdd": [lambda: linear(False, True)],
    "LinearSiluAdd": [lambda: linear(True, True)],
    "NormalizedLinear": [normalized_linear],
    "Ffn": [ffn],
    "Attention": [lambda: attention((2, 2)), lambda: attention((1, 1)), lambda: attention((1, 3))],
}
"""Name -> what makes its cases."""


def model_of(name: str, case: Case, *, with_function: bool) -> bytes:
    """A file of that one node, the sizes of its inputs open."""
    names = [f"x{place}" for place in range(len(case.inputs))]
    node = helper.make_node(name, names, ["y"], domain=DOMAIN, **case.attributes)
    given = [
        helper.make_tensor_value_info(names[place], _type_of(tensor), [None] * tensor.ndim)
        for place, tensor in enumerate(case.inputs)
        if place not in case.weights
    ]
    weights = [
        numpy_helper.from_array(case.inputs[place].contiguous().numpy(), names[place])
        for place in sorted(case.weights)
    ]
    result = helper.make_tensor_value_info("y", _type_of(case.expected), [None] * case.expected.ndim)
    graph = helper.make_graph([node], "one", given, [result], weights)
    domains = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=10)
    if with_function:
        onnx_functions.add_functions(model, OPSET)
        onnx.checker.check_model(model)
    return model.SerializeToString()


def _type_of(tensor: Tensor) -> int:
    return helper.np_dtype_to_tensor_dtype(tensor.numpy().dtype)


def given_to(case: Case) -> dict[str, Any]:
    """What a session of `model_of` is run with."""
    return {
        f"x{place}": tensor.contiguous().numpy()
        for place, tensor in enumerate(case.inputs)
        if place not in case.weights
    }

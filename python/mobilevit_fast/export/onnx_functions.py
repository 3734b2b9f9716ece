"""What the nodes of `onnx_nodes` compute, as functions that travel in the file.

A runtime with kernels for the domain runs a node; any other runs its function, in standard operators. Where
two maps channels last meet, the transpositions that the functions begin and end with cancel.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx.parser

from mobilevit_fast.export.onnx_function_parts import FROM_HEADS, NORMALIZE, TO_HEADS, silu
from mobilevit_fast.export.onnx_int8_functions import INT8_TEXTS
from mobilevit_fast.export.onnx_nodes import DOMAIN, VERSION


def _convolution(attributes: str, last: str) -> str:
    return f"planes = Transpose <perm = [0, 3, 1, 2]> (x)\n{_planar_convolution(attributes, last)}"


def _planar_convolution(attributes: str, last: str) -> str:
    return f"""
        sums = Conv <pads = [1, 1, 1, 1], {attributes}> (planes, weight, bias)
        {last}
        y = Transpose <perm = [0, 2, 3, 1]> (answer)
    """


_STRIDES = "strides: ints = @strides"
_GROUP = "group: int = @group"
_WITH_SILU, _PLAIN = silu("sums", "answer"), "answer = Identity (sums)"


def _inverted_residual(last: str) -> str:
    return f"""
        planes = Transpose <perm = [0, 3, 1, 2]> (x)
        expanded_sums = Conv (planes, expand, expand_bias)
        {silu("expanded_sums", "expanded")}
        filtered_sums = Conv <pads = [1, 1, 1, 1], {_STRIDES}, {_GROUP}> (expanded, depthwise, depthwise_bias)
        {silu("filtered_sums", "filtered")}
        sums = Conv (filtered, project, project_bias)
        {last}
        y = Transpose <perm = [0, 2, 3, 1]> (answer)
    """


def _linear(last: str) -> str:
    return f"""
        columns = Transpose <perm = [1, 0]> (weight)
        products = MatMul (x, columns)
        sums = Add (products, bias)
        {last}
    """


# softmax(q k^T / sqrt(head dim)) v
_ATTENTION = f"""
    pixels = Identity (qkv)
    {TO_HEADS}
    head_dim = Shape <start = 3> (query)
    head_dim_number = CastLike (head_dim, query)
    root = Sqrt (head_dim_number)
    scaled = Div (query, root)
    key_columns = Transpose <perm = [0, 1, 3, 2]> (key)
    scores = MatMul (scaled, key_columns)
    weights = Softmax <axis = -1> (scores)
    mixed = MatMul (weights, value)
    {FROM_HEADS}
    y = Identity (mixed_pixels)
"""

_NORMALIZED_LINEAR = f"""
    {NORMALIZE}
    columns = Transpose <perm = [1, 0]> (weight)
    products = MatMul (rows, columns)
    y = Add (products, bias)
"""

_FFN = f"""
    {NORMALIZE}
    up_columns = Transpose <perm = [1, 0]> (up)
    up_products = MatMul (rows, up_columns)
    up_sums = Add (up_products, up_bias)
    {silu("up_sums", "hidden")}
    down_columns = Transpose <perm = [1, 0]> (down)
    down_products = MatMul (hidden, down_columns)
    down_sums = Add (down_products, down_bias)
    y = Add (down_sums, x)
"""

_RESIDUAL_INPUTS = "x, expand, expand_bias, depthwise, depthwise_bias, project, project_bias"

_FLOAT_TEXTS = {
    "Conv3x3": ("<strides> (x, weight, bias)", _convolution(_STRIDES, _PLAIN)),
    "Conv3x3Silu": ("<strides> (x, weight, bias)", _convolution(_STRIDES, _WITH_SILU)),
    "JoinedConv3x3Silu": (
        "<strides> (first, second, weight, bias)",
        f"x = Concat <axis = 3> (first, second)\n{_convolution(_STRIDES, _WITH_SILU)}",
    ),
    "PlanarConv3x3Silu": ("<strides> (planes, weight, bias)", _planar_convolution(_STRIDES, _WITH_SILU)),
    "DwConv3x3": ("<strides, group> (x, weight, bias)", _convolution(f"{_STRIDES}, {_GROUP}", _PLAIN)),
    "DwConv3x3Silu": (
        "<strides, group> (x, weight, bias)",
        _convolution(f"{_STRIDES}, {_GROUP}", _WITH_SILU),
    ),
    "InvertedResidual": (f"<strides, group> ({_RESIDUAL_INPUTS})", _inverted_residual(_PLAIN)),
    "InvertedResidualAdd": (
        f"<strides, group> ({_RESIDUAL_INPUTS})",
        _inverted_residual("answer = Add (sums, planes)"),
    ),
    "Linear": ("(x, weight, bias)", _linear("y = Identity (sums)")),
    "LinearSilu": ("(x, weight, bias)", _linear(silu("sums", "y"))),
    "LinearAdd": ("(x, weight, bias, residual)", _linear("y = Add (sums, residual)")),
    "LinearSiluAdd": (
        "(x, weight, bias, residual)",
        _linear(f"{silu('sums', 'active')}\ny = Add (active, residual)"),
    ),
    "NormalizedLinear": ("<epsilon> (x, weight, bias)", _NORMALIZED_LINEAR),
    "Ffn": ("<epsilon> (x, up, up_bias, down, down_bias)", _FFN),
    "Attention": ("<heads, patch> (qkv)", _ATTENTION),
}
"""Name of a node -> its attributes and inputs, and its function."""

_TEXTS = _FLOAT_TEXTS | INT8_TEXTS

NAMES = tuple(_TEXTS)


def function(name: str, opset: int) -> onnx.FunctionProto:
    """The function of the node `name`, in standard operators of `opset`."""
    header, body = _TEXTS[name]
    signature = f'<domain: "{DOMAIN}", opset_import: ["": {opset}]> {name} {header} => (y)'
    return onnx.parser.parse_function(f"{signature} {{ {body} }}")


def add_functions(model: onnx.ModelProto, opset: int) -> None:
    """Gives the model the functions of the nodes of this domain that its graph has."""
    used = _used(model.graph.node)
    model.functions.extend(function(name, opset) for name in NAMES if name in used)
    if used and all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, VERSION))


def _used(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    return {node.op_type for node in nodes if node.domain == DOMAIN}

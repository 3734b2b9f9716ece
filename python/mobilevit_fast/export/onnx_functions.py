"""What the nodes of `onnx_nodes` compute, as functions that travel in the file.

A runtime with kernels for the domain runs a node; any other runs its function, in standard operators. Where
two maps channels last meet, the transpositions that the functions begin and end with cancel.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx.parser

from mobilevit_fast.export.onnx_nodes import DOMAIN, VERSION


def _silu(given: str, result: str) -> str:
    return f"{result}_gate = Sigmoid ({given})\n{result} = Mul ({given}, {result}_gate)"


def _convolution(attributes: str, last: str) -> str:
    return f"""
        map = Transpose <perm = [0, 3, 1, 2]> (x)
        sums = Conv <pads = [1, 1, 1, 1], {attributes}> (map, weight, bias)
        {last}
        y = Transpose <perm = [0, 2, 3, 1]> (answer)
    """


_STRIDES = "strides: ints = @strides"
_GROUP = "group: int = @group"
_WITH_SILU, _PLAIN = _silu("sums", "answer"), "answer = Identity (sums)"


def _inverted_residual(last: str) -> str:
    return f"""
        map = Transpose <perm = [0, 3, 1, 2]> (x)
        expanded_sums = Conv (map, expand, expand_bias)
        {_silu("expanded_sums", "expanded")}
        filtered_sums = Conv <pads = [1, 1, 1, 1], {_STRIDES}, {_GROUP}> (expanded, depthwise, depthwise_bias)
        {_silu("filtered_sums", "filtered")}
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


# softmax(q k^T / sqrt(head dim)) v for each head, among the pixels of equal position in their patch: pixels
# are sorted by that position first, and sorted back last.
_ATTENTION = """
    axis = Constant <value_ints = [0]> ()
    rest = Constant <value_ints = [-1]> ()
    three = Constant <value_ints = [3]> ()
    patch_size = Constant <value_ints: ints = @patch> ()
    patch_height, patch_width = Split <num_outputs = 2, axis = 0> (patch_size)
    heads_scalar = Constant <value_int: int = @heads> ()
    heads_length = Unsqueeze (heads_scalar, axis)
    three_heads = Mul (heads_length, three)
    batch = Shape <start = 0, end = 1> (qkv)
    size = Shape <start = 1, end = 3> (qkv)
    grid = Div (size, patch_size)
    rows, columns = Split <num_outputs = 2, axis = 0> (grid)
    tokens = Mul (rows, columns)
    places = Mul (patch_height, patch_width)
    sequences = Mul (batch, places)

    pixels_shape = Concat <axis = 0> (batch, rows, patch_height, columns, patch_width, rest)
    pixels = Reshape (qkv, pixels_shape)
    sorted = Transpose <perm = [0, 2, 4, 1, 3, 5]> (pixels)
    heads_shape = Concat <axis = 0> (sequences, tokens, three_heads, rest)
    by_token = Reshape (sorted, heads_shape)
    by_head = Transpose <perm = [0, 2, 1, 3]> (by_token)
    query, key, value = Split <num_outputs = 3, axis = 1> (by_head)

    head_dim = Shape <start = 3> (query)
    head_dim_number = CastLike (head_dim, query)
    root = Sqrt (head_dim_number)
    scaled = Div (query, root)
    key_columns = Transpose <perm = [0, 1, 3, 2]> (key)
    scores = MatMul (scaled, key_columns)
    weights = Softmax <axis = -1> (scores)
    mixed = MatMul (weights, value)

    mixed_by_token = Transpose <perm = [0, 2, 1, 3]> (mixed)
    places_shape = Concat <axis = 0> (batch, patch_height, patch_width, rows, columns, rest)
    by_place = Reshape (mixed_by_token, places_shape)
    by_pixel = Transpose <perm = [0, 3, 1, 4, 2, 5]> (by_place)
    map_shape = Concat <axis = 0> (batch, size, rest)
    y = Reshape (by_pixel, map_shape)
"""

_RESIDUAL_INPUTS = "x, expand, expand_bias, depthwise, depthwise_bias, project, project_bias"

_TEXTS = {
    "Conv3x3": ("<strides> (x, weight, bias)", _convolution(_STRIDES, _PLAIN)),
    "Conv3x3Silu": ("<strides> (x, weight, bias)", _convolution(_STRIDES, _WITH_SILU)),
    "DwConv3x3": ("<strides, group> (x, weight, bias)", _convolution(f"{_STRIDES}, {_GROUP}", _PLAIN)),
    "DwConv3x3Silu": (
        "<strides, group> (x, weight, bias)",
        _convolution(f"{_STRIDES}, {_GROUP}", _WITH_SILU),
    ),
    "InvertedResidual": (f"<strides, group> ({_RESIDUAL_INPUTS})", _inverted_residual(_PLAIN)),
    "InvertedResidualAdd": (
        f"<strides, group> ({_RESIDUAL_INPUTS})",
        _inverted_residual("answer = Add (sums, map)"),
    ),
    "Linear": ("(x, weight, bias)", _linear("y = Identity (sums)")),
    "LinearSilu": ("(x, weight, bias)", _linear(_silu("sums", "y"))),
    "LinearAdd": ("(x, weight, bias, residual)", _linear("y = Add (sums, residual)")),
    "LinearSiluAdd": (
        "(x, weight, bias, residual)",
        _linear(f"{_silu('sums', 'active')}\ny = Add (active, residual)"),
    ),
    "Attention": ("<heads, patch> (qkv)", _ATTENTION),
}
"""Name of a node -> its attributes and inputs, and its function."""

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

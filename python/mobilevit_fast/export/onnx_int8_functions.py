"""What the nodes on bytes compute, in standard operators on whole numbers.

Activations are uint8, real = scale * (q - zero); a layer is an int8 weight, an int32 bias, and a multiplier
and an offset with which its whole sums become the numbers of its output: bytes, through a table of 256 where
the layer has one, or floats.
"""

from __future__ import annotations

from mobilevit_fast.export.onnx_function_parts import FROM_HEADS, NORMALIZE, TO_HEADS

FLOAT, UINT8, INT32 = 1, 2, 6
"""Element types of ONNX."""


def _zero(name: str) -> str:
    """The attribute `name` as a byte."""
    return f"""
        {name}_number = Constant <value_int: int = @{name}> ()
        {name} = Cast <to = {UINT8}> ({name}_number)
    """


def _number(name: str) -> str:
    """The attribute `name`, a float."""
    return f"{name} = Constant <value_float: float = @{name}> ()"


_LIMITS = """
    least = Constant <value_float = 0.0> ()
    greatest = Constant <value_float = 255.0> ()
"""


def _scaled(sums: str, result: str, layer: str = "", offset: bool = True) -> str:
    """Whole sums, channels last, as numbers of the layer's output."""
    first = f"""
        {result}_sums = Add ({sums}, {layer}bias)
        {result}_reals = Cast <to = {FLOAT}> ({result}_sums)
    """
    if not offset:
        return f"{first}\n{result} = Mul ({result}_reals, {layer}multiplier)"
    return f"""
        {first}
        {result}_scaled = Mul ({result}_reals, {layer}multiplier)
        {result} = Add ({result}_scaled, {layer}offset)
    """


def _bytes(reals: str, result: str, table: str = "") -> str:
    """The nearest bytes, through a table where one is named."""
    rounded = f"""
        {result}_rounded = Round ({reals})
        {result}_clipped = Clip ({result}_rounded, least, greatest)
    """
    if not table:
        return f"{rounded}\n{result} = Cast <to = {UINT8}> ({result}_clipped)"
    return f"""
        {rounded}
        {result}_index = Cast <to = {INT32}> ({result}_clipped)
        {result} = Gather ({table}, {result}_index)
    """


def _planes(x: str) -> str:
    return f"{x}_planes = Transpose <perm = [0, 3, 1, 2]> ({x})"


def _convolve(x: str, weight: str, zero: str, result: str, attributes: str = "") -> str:
    """`x` channels last to whole sums, channels last."""
    given = f"<{attributes}>" if attributes else ""
    return f"""
        {_planes(x)}
        {result}_planes = ConvInteger {given} ({x}_planes, {weight}, {zero})
        {result} = Transpose <perm = [0, 2, 3, 1]> ({result}_planes)
    """


_SAME = "pads = [1, 1, 1, 1], strides: ints = @strides"
_LAYER = "weight, bias, multiplier, offset"

_CONVOLUTION = f"""
    {_zero("input_zero")}
    {_LIMITS}
    {_convolve("x", "weight", "input_zero", "sums", _SAME)}
    {_scaled("sums", "numbers")}
    {_bytes("numbers", "y", "table")}
"""

_JOINED_CONVOLUTION = f"""
    {_zero("input_zero")}
    {_zero("second_zero")}
    {_LIMITS}
    first_weight, second_weight = Split <num_outputs = 2, axis = 1> (weight)
    {_convolve("x", "first_weight", "input_zero", "first_sums", _SAME)}
    {_convolve("second", "second_weight", "second_zero", "second_sums", _SAME)}
    sums = Add (first_sums, second_sums)
    {_scaled("sums", "numbers")}
    {_bytes("numbers", "y", "table")}
"""

_PLANAR_CONVOLUTION = f"""
    {_zero("input_zero")}
    {_number("input_scale")}
    {_LIMITS}
    image_bytes = QuantizeLinear (image, input_scale, input_zero)
    sums_planes = ConvInteger <{_SAME}> (image_bytes, weight, input_zero)
    sums = Transpose <perm = [0, 2, 3, 1]> (sums_planes)
    {_scaled("sums", "numbers")}
    {_bytes("numbers", "y", "table")}
"""

_RESIDUAL_LAYERS = ", ".join(
    f"{layer}_{part}"
    for layer in ("expand", "depthwise", "project")
    for part in ("weight", "bias", "multiplier", "offset", "table")
    if (layer, part) != ("project", "table")
)
_RESIDUAL_ATTRIBUTES = "strides, group, input_zero, expanded_zero, depthwise_zero"


def _inverted_residual(last: str) -> str:
    return f"""
        {_zero("input_zero")}
        {_zero("expanded_zero")}
        {_zero("depthwise_zero")}
        {_LIMITS}
        {_convolve("x", "expand_weight", "input_zero", "expanded_sums")}
        {_scaled("expanded_sums", "expanded_numbers", "expand_")}
        {_bytes("expanded_numbers", "expanded", "expand_table")}
        {
        _convolve(
            "expanded",
            "depthwise_weight",
            "expanded_zero",
            "filtered_sums",
            f"{_SAME}, group: int = @group",
        )
    }
        {_scaled("filtered_sums", "filtered_numbers", "depthwise_")}
        {_bytes("filtered_numbers", "filtered", "depthwise_table")}
        {_convolve("filtered", "project_weight", "depthwise_zero", "projected_sums")}
        {_scaled("projected_sums", "numbers", "project_")}
        {last}
    """


_ADD_INPUT = f"""
    {_number("residual_multiplier")}
    input_reals = Cast <to = {FLOAT}> (x)
    input_numbers = Mul (input_reals, residual_multiplier)
    joined_numbers = Add (numbers, input_numbers)
    {_bytes("joined_numbers", "y")}
"""


def _linear(rows: str, last: str) -> str:
    """`rows` are bytes."""
    return f"""
        {_LIMITS}
        columns = Transpose <perm = [1, 0]> (weight)
        sums = MatMulInteger ({rows}, columns, input_zero)
        {_scaled("sums", "numbers")}
        {last}
    """


def _bytes_of(rows: str) -> str:
    return f"""
        {_zero("input_zero")}
        {_number("input_scale")}
        row_bytes = QuantizeLinear ({rows}, input_scale, input_zero)
    """


_NORMALIZED_BYTES = f"{NORMALIZE}\n{_bytes_of('rows')}"

_FFN = f"""
    {_NORMALIZED_BYTES}
    {_LIMITS}
    {_zero("hidden_zero")}
    up_columns = Transpose <perm = [1, 0]> (up_weight)
    up_sums = MatMulInteger (row_bytes, up_columns, input_zero)
    {_scaled("up_sums", "up_numbers", "up_")}
    {_bytes("up_numbers", "hidden", "up_table")}
    down_columns = Transpose <perm = [1, 0]> (down_weight)
    down_sums = MatMulInteger (hidden, down_columns, hidden_zero)
    {_scaled("down_sums", "added", "down_", offset=False)}
    y = Add (added, x)
"""

# q, k and v are bytes around 128; the weights of the softmax are bytes, too.
_ATTENTION = f"""
    {_LIMITS}
    {_number("score_scale")}
    {_number("output_multiplier")}
    output_zero_number = Constant <value_int: int = @output_zero> ()
    output_zero = Cast <to = {FLOAT}> (output_zero_number)
    middle = Constant <value_float = 128.0> ()
    last_axis = Constant <value_ints = [-1]> ()
    qkv_reals = Cast <to = {FLOAT}> (qkv)
    pixels = Sub (qkv_reals, middle)
    {TO_HEADS}
    key_columns = Transpose <perm = [0, 1, 3, 2]> (key)
    products = MatMul (query, key_columns)
    scores = Mul (products, score_scale)
    greatest_score = ReduceMax (scores, last_axis)
    distances = Sub (scores, greatest_score)
    exponentials = Exp (distances)
    in_bytes = Mul (exponentials, greatest)
    weights = Round (in_bytes)
    total = ReduceSum (weights, last_axis)
    weighted = MatMul (weights, value)
    mixed = Div (weighted, total)
    {FROM_HEADS}
    numbers_scaled = Mul (mixed_pixels, output_multiplier)
    numbers = Add (numbers_scaled, output_zero)
    {_bytes("numbers", "y")}
"""

_LAYER_NORM = f"""
    {_zero("zero")}
    {_number("scale")}
    rows = LayerNormalization <axis = -1, epsilon: float = @epsilon> (x, gamma, beta)
    y = QuantizeLinear (rows, scale, zero)
"""

_GLOBAL_POOL = f"""
    {_zero("zero")}
    {_number("scale")}
    reals = DequantizeLinear (x, scale, zero)
    rows_and_columns = Constant <value_ints = [1, 2]> ()
    y = ReduceMean <keepdims = 0> (reals, rows_and_columns)
"""

INT8_TEXTS = {
    "Int8Conv3x3": (f"<strides, input_zero> (x, {_LAYER}, table)", _CONVOLUTION),
    "Int8JoinedConv3x3": (
        f"<strides, input_zero, second_zero> (x, second, {_LAYER}, table)",
        _JOINED_CONVOLUTION,
    ),
    "Int8PlanarConv3x3": (
        f"<strides, input_scale, input_zero> (image, {_LAYER}, table)",
        _PLANAR_CONVOLUTION,
    ),
    "Int8InvertedResidual": (
        f"<{_RESIDUAL_ATTRIBUTES}> (x, {_RESIDUAL_LAYERS})",
        _inverted_residual(_bytes("numbers", "y")),
    ),
    "Int8InvertedResidualAdd": (
        f"<{_RESIDUAL_ATTRIBUTES}, residual_multiplier> (x, {_RESIDUAL_LAYERS})",
        _inverted_residual(_ADD_INPUT),
    ),
    "Int8Linear": (
        f"<input_zero> (x, {_LAYER}, table)",
        _zero("input_zero") + _linear("x", _bytes("numbers", "y", "table")),
    ),
    "Int8NormalizedLinear": (
        f"<input_scale, input_zero, epsilon> (x, {_LAYER})",
        _NORMALIZED_BYTES + _linear("row_bytes", _bytes("numbers", "y")),
    ),
    "Int8QuantizedLinear": (
        f"<input_scale, input_zero> (x, {_LAYER})",
        _bytes_of("x") + _linear("row_bytes", "y = Identity (numbers)"),
    ),
    "Int8LinearFloat": (
        f"<input_zero> (x, {_LAYER})",
        _zero("input_zero") + _linear("x", "y = Identity (numbers)"),
    ),
    "Int8LinearFloatAdd": (
        f"<input_zero> (x, {_LAYER}, residual)",
        _zero("input_zero") + _linear("x", "y = Add (numbers, residual)"),
    ),
    "Int8Ffn": (
        "<input_scale, input_zero, hidden_zero, epsilon> (x, up_weight, up_bias, up_multiplier, up_offset, "
        "up_table, down_weight, down_bias, down_multiplier)",
        _FFN,
    ),
    "Int8LayerNorm": ("<scale, zero, epsilon> (x, gamma, beta)", _LAYER_NORM),
    "Int8GlobalPool": ("<scale, zero> (x)", _GLOBAL_POOL),
    "Int8Attention": ("<heads, patch, score_scale, output_multiplier, output_zero> (qkv)", _ATTENTION),
}
"""Name of a node -> its attributes and inputs, and its function."""

"""Pieces that several functions of nodes have in common, in the text form of ONNX functions."""

from __future__ import annotations

NORMALIZE = """
    length = Shape <start = -1> (x)
    one = Constant <value_float = 1.0> ()
    one_alike = CastLike (one, x)
    scale = Expand (one_alike, length)
    rows = LayerNormalization <axis = -1, epsilon: float = @epsilon> (x, scale)
"""
"""`rows`: a layer norm of `x` whose scale and shift are in the weights behind it."""

TO_HEADS = """
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
    in_patches = Reshape (pixels, pixels_shape)
    by_place = Transpose <perm = [0, 2, 4, 1, 3, 5]> (in_patches)
    heads_shape = Concat <axis = 0> (sequences, tokens, three_heads, rest)
    by_token = Reshape (by_place, heads_shape)
    by_head = Transpose <perm = [0, 2, 1, 3]> (by_token)
    query, key, value = Split <num_outputs = 3, axis = 1> (by_head)
"""
"""`query`, `key` and `value`, [N * positions, heads, tokens, head dim], of `pixels` [N, H, W, 3 * dim] whose
size is `qkv`'s: tokens are the pixels of equal position in their patch."""

FROM_HEADS = """
    mixed_by_token = Transpose <perm = [0, 2, 1, 3]> (mixed)
    mixed_shape = Concat <axis = 0> (batch, patch_height, patch_width, rows, columns, rest)
    mixed_by_place = Reshape (mixed_by_token, mixed_shape)
    mixed_in_patches = Transpose <perm = [0, 3, 1, 4, 2, 5]> (mixed_by_place)
    map_shape = Concat <axis = 0> (batch, size, rest)
    mixed_pixels = Reshape (mixed_in_patches, map_shape)
"""
"""The way back: `mixed` to `mixed_pixels` [N, H, W, dim]."""


def silu(given: str, result: str) -> str:
    return f"{result}_gate = Sigmoid ({given})\n{result} = Mul ({given}, {result}_gate)"

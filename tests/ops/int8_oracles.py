"""The operations on bytes as NumPy loops: integer sums in int64, and epilogues rounded once from float64.

Arguments are those of `_C.ops.int8_*`.
"""

import numpy as np


def fma(a, b, c):
    """a * b + c of float32 arrays, rounded once to float32.

    The product is exact in float64; where that sum is rounded to odd, rounding it again changes nothing.
    """
    product = np.float64(a) * np.float64(b)
    c = np.float64(c)
    total = product + c
    # What the float64 sum left out, after Knuth.
    virtual = total - product
    error = (product - (total - virtual)) + (c - virtual)
    even = total.view(np.int64) % 2 == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    odd = np.where((error != 0) & even, np.nextafter(total, toward), total)
    return odd.astype(np.float32)


def to_bytes(value):
    return np.rint(np.clip(value, 0, 255)).astype(np.uint8)


def requantize(sums, multiplier, offset=None, table=None):
    """Bytes from sums [..., out]."""
    offset = np.zeros_like(multiplier) if offset is None else offset
    codes = to_bytes(fma(sums.astype(np.float32), multiplier, offset))
    return codes if table is None else table[codes]


def add_bias(sums, bias):
    return sums if bias is None else sums + bias


def linear_sums(x, weight, bias, input_zero=0):
    """int64 [..., out]."""
    return add_bias((x.astype(np.int64) - input_zero) @ weight.astype(np.int64).T, bias)


def quantize(x, scale, zero):
    x = np.clip(x, -1000 * scale, 1000 * scale).astype(np.float32)  # beyond every byte, and finite
    return to_bytes(fma(x, np.float32(1) / np.float32(scale), np.float32(zero)))


def int8_linear(x, weight, bias, multiplier, offset=None, table=None, input_zero=0):
    return requantize(linear_sums(x, weight, bias, input_zero), multiplier, offset, table)


def convolution_sums(x, weight, bias, stride, input_zero):
    """[N, H, W, C] and [out, 3, 3, C]; the padding is the zero point."""
    height, width = x.shape[1:3]
    padded = np.pad(x.astype(np.int64) - input_zero, ((0, 0), (1, 1), (1, 1), (0, 0)))
    sums = np.zeros((len(x), -(-height // stride), -(-width // stride), len(weight)), np.int64)
    for i in range(3):
        for j in range(3):
            tap = padded[:, i : i + height : stride, j : j + width : stride]
            sums += tap @ weight[:, i, j].astype(np.int64).T
    return add_bias(sums, bias)


def int8_conv3x3(
    x,
    weight,
    bias,
    multiplier,
    offset=None,
    table=None,
    stride=1,
    input_zero=0,
    second=None,
    second_zero=0,
):
    channels = x.shape[3]
    sums = convolution_sums(x, weight[..., :channels], bias, stride, input_zero)
    if second is not None:
        sums = sums + convolution_sums(second, weight[..., channels:], None, stride, second_zero)
    return requantize(sums, multiplier, offset, table)


def int8_dwconv3x3(x, weight, bias, multiplier, offset=None, table=None, stride=1, input_zero=0):
    dense = np.zeros((weight.shape[2], 3, 3, weight.shape[2]), np.int8)
    for channel in range(weight.shape[2]):
        dense[channel, :, :, channel] = weight[:, :, channel]
    return int8_conv3x3(x, dense, bias, multiplier, offset, table, stride, input_zero)


def int8_inverted_residual(
    x,
    expand_weight,
    expand_bias,
    expand_multiplier,
    expand_offset,
    expand_table,
    depthwise_weight,
    depthwise_bias,
    depthwise_multiplier,
    depthwise_offset,
    depthwise_table,
    project_weight,
    project_bias,
    project_multiplier,
    project_offset=None,
    stride=1,
    residual_multiplier=None,
    input_zero=0,
    expanded_zero=0,
    depthwise_zero=0,
):
    expand = (expand_weight, expand_bias, expand_multiplier, expand_offset, expand_table)
    depthwise = (depthwise_weight, depthwise_bias, depthwise_multiplier, depthwise_offset, depthwise_table)
    filtered = int8_dwconv3x3(int8_linear(x, *expand, input_zero), *depthwise, stride, expanded_zero)
    sums = linear_sums(filtered, project_weight, project_bias, depthwise_zero)
    if residual_multiplier is None:
        return requantize(sums, project_multiplier, project_offset)
    offset = np.zeros_like(project_multiplier) if project_offset is None else project_offset
    value = fma(sums.astype(np.float32), project_multiplier, offset)
    return to_bytes(fma(x.astype(np.float32), np.float32(residual_multiplier), value))


def attention_weights(scores, score_scale):
    """255 * exp(score_scale * (scores - largest)) in 8 bits, along the last axis of int64 scores."""
    steps = np.float32(score_scale) * np.float32(2954.63944)
    distance = (scores.max(-1, keepdims=True) - scores).astype(np.float32) * steps
    distance = np.rint(np.minimum(distance, np.float32(32767))).astype(np.int64)
    fraction = distance % 2048 * 32
    missing = fraction * (22112 - (fraction * 5780 >> 16)) >> 16
    power = (32767 - missing) >> distance // 2048
    return (power * 255 + 16384) // 32768


def int8_attention(qkv, heads, score_scale, output_multiplier, output_zero, patch=(2, 2)):
    dim = qkv.shape[3] // 3
    head_dim = dim // heads
    y = np.empty((*qkv.shape[:3], dim), np.uint8)
    for n, i, j, head in np.ndindex(len(qkv), *patch, heads):
        here = np.s_[n, i :: patch[0], j :: patch[1]]
        tokens = qkv[here].astype(np.int64) - 128
        first = head * head_dim
        query, key, value = (
            tokens[..., part * dim + first : part * dim + first + head_dim].reshape(-1, head_dim)
            for part in range(3)
        )
        weights = attention_weights(query @ key.T, score_scale)
        scale = np.float32(output_multiplier) / weights.sum(1, keepdims=True).astype(np.float32)
        mixed = fma((weights @ value).astype(np.float32), scale, np.float32(output_zero))
        place = y[here][..., first : first + head_dim]
        place[...] = to_bytes(mixed).reshape(place.shape)
    return y


ORACLES = {
    "int8_linear": int8_linear,
    "int8_conv3x3": int8_conv3x3,
    "int8_dwconv3x3": int8_dwconv3x3,
    "int8_inverted_residual": int8_inverted_residual,
    "int8_attention": int8_attention,
}

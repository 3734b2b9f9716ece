"""The operations as plain loops over float64 NumPy arrays."""

import numpy as np


def silu(x):
    return x / (1 + np.exp(-x))


def convolution(x, weight, bias, stride):
    """[N, C, H, W] and [K, C, 3, 3], padding 1, one kernel tap at a time."""
    batch, _, height, width = x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((batch, weight.shape[0], rows, columns))
    for i in range(3):
        for j in range(3):
            tap = padded[:, :, i : i + height : stride, j : j + width : stride]
            y += np.einsum("nchw,kc->nkhw", tap, weight[:, :, i, j])
    return y if bias is None else y + bias[:, None, None]


def conv3x3(x, weight, bias=None, stride=1, activation=False):
    y = convolution(x, weight, bias, stride)
    return silu(y) if activation else y


def dwconv3x3(x, weight, bias=None, stride=1, activation=False):
    dense = np.zeros((len(weight), len(weight), 3, 3))
    for channel, taps in enumerate(weight):
        dense[channel, channel] = taps[0]
    return conv3x3(x, dense, bias, stride, activation)


def pointwise(x, weight, bias):
    return np.einsum("nchw,kc->nkhw", x, weight[:, :, 0, 0]) + bias[:, None, None]


def inverted_residual(
    x, expand, expand_bias, depthwise, depthwise_bias, project, project_bias, stride=1, residual=False
):
    expanded = silu(pointwise(x, expand, expand_bias))
    filtered = dwconv3x3(expanded, depthwise, depthwise_bias, stride, True)
    y = pointwise(filtered, project, project_bias)
    return y + x if residual else y


def linear(x, weight, bias=None, residual=None, activation=False):
    y = x @ weight.T
    if bias is not None:
        y = y + bias
    if activation:
        y = silu(y)
    return y if residual is None else y + residual


def attention(qkv, heads, patch_height=2, patch_width=2):
    _, height, width, channels = qkv.shape
    dim = channels // 3
    head_dim = dim // heads
    y = np.empty((*qkv.shape[:3], dim))
    for image, answer in zip(qkv, y, strict=True):
        for i in range(patch_height):
            for j in range(patch_width):
                tokens = image[i:height:patch_height, j:width:patch_width]
                for head in range(heads):
                    first = head * head_dim
                    query, key, value = (
                        tokens[..., part * dim + first : part * dim + first + head_dim].reshape(-1, head_dim)
                        for part in range(3)
                    )
                    scores = query @ key.T / np.sqrt(head_dim)
                    weights = np.exp(scores - scores.max(1, keepdims=True))
                    mixed = weights / weights.sum(1, keepdims=True) @ value
                    place = answer[i:height:patch_height, j:width:patch_width, first : first + head_dim]
                    place[...] = mixed.reshape(place.shape)
    return y


ORACLES = {
    "dwconv3x3": dwconv3x3,
    "conv3x3": conv3x3,
    "inverted_residual": inverted_residual,
    "linear": linear,
    "attention": attention,
}

"""Runs a plan in plain numpy, in float64 throughout: the oracle for `lower` and for the engine."""

from __future__ import annotations

from typing import Any

import numpy as np


def interpret(plan: dict[str, Any], images: np.ndarray) -> list[np.ndarray]:
    """Outputs of `plan` for images [N, C, H, W]: maps [N, C, H, W] and vectors [N, C], as float64."""
    runs = [_interpret_one(plan, image) for image in np.asarray(images, dtype=np.float64)]
    return [np.stack(values) for values in zip(*runs, strict=True)]


def _interpret_one(plan: dict[str, Any], image: np.ndarray) -> list[np.ndarray]:
    values: dict[int, np.ndarray] = {}
    for step in plan["steps"]:
        values[step["output"]] = _KINDS[step["kind"]](step, values, image)
        channels = plan["tensors"][step["output"]]["channels"]
        assert values[step["output"]].shape[-1] == channels, (
            f"{step['name']} does not write {channels} channels"
        )
    return [np.moveaxis(values[index], -1, 0) for index in plan["outputs"]]


def _stem(step, values, image):
    return _conv3x3_of(image.transpose(1, 2, 0), step["conv"], step["conv_weights"])


def _conv3x3(step, values, image):
    inputs = [values[step["input"]]]
    if step["conv"].get("in_second", 0):
        inputs.append(values[step["second_input"]])
    return _conv3x3_of(np.concatenate(inputs, axis=-1), step["conv"], step["conv_weights"])


def _conv3x3_of(x, shape, weights):
    weight = weights["weight"].astype(np.float64)
    windows = _windows(x, shape["stride"])
    y = np.einsum("yxcij,nijc->yxn", windows, weight, optimize=True) + _bias(weights)
    return _activate(y, shape["activation"])


def _windows(x, stride):
    """[H, W, C] to [H', W', C, 3, 3] under zero padding 1."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))[::stride, ::stride]


def _inverted_residual(step, values, image):
    x, shape, weights = values[step["input"]], step["inverted_residual"], step["inverted_residual_weights"]
    expanded = _activate(_matmul(x, weights["expand"]), "silu")
    kernel = weights["depthwise"]["weight"].astype(np.float64)
    filtered = np.einsum("yxcij,ijc->yxc", _windows(expanded, shape["stride"]), kernel) + _bias(
        weights["depthwise"]
    )
    y = _matmul(_activate(filtered, "silu"), weights["project"])
    return x + y if shape["residual"] else y


def _linear(step, values, image):
    x, shape = values[step["input"]], step["linear"]
    if shape["normalize"]:
        x = _normalize(x, shape["epsilon"])
    y = _activate(_matmul(x, step["linear_weights"]), shape["activation"])
    return y if step.get("residual", -1) < 0 else y + values[step["residual"]]


def _ffn(step, values, image):
    x, weights = values[step["input"]], step["ffn_weights"]
    hidden = _activate(_matmul(_normalize(x, step["ffn"]["epsilon"]), weights["up"]), "silu")
    return x + _matmul(hidden, weights["down"])


def _attention(step, values, image):
    qkv, heads = values[step["input"]], step["heads"]
    rows, columns = step["patch_height"], step["patch_width"]
    dim = qkv.shape[-1] // 3
    output = np.empty((*qkv.shape[:2], dim))
    for i in range(rows):
        for j in range(columns):
            tokens = qkv[i::rows, j::columns]
            flat = tokens.reshape(-1, 3, heads, dim // heads)
            query, key, value = (flat[:, part].transpose(1, 0, 2) for part in range(3))
            scores = query @ key.transpose(0, 2, 1) / np.sqrt(dim // heads)
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
            output[i::rows, j::columns] = mixed.transpose(1, 0, 2).reshape(*tokens.shape[:2], dim)
    return output


def _layer_norm(step, values, image):
    normalized = _normalize(values[step["input"]], step["epsilon"])
    return normalized * step["gamma"].astype(np.float64) + step["beta"].astype(np.float64)


def _resize_to_patch(step, values, image):
    x = values[step["input"]]
    patch = step["patch_height"], step["patch_width"]
    return _resize(x, *(-(-size // side) * side for size, side in zip(x.shape, patch, strict=False)))


def _resize_like(step, values, image):
    return _resize(values[step["input"]], *values[step["like"]].shape[:2])


def _resize(x, height, width):
    for axis, size in enumerate((height, width)):
        if size != x.shape[axis]:
            x = np.moveaxis(_resize_axis(np.moveaxis(x, axis, 0), size), 0, axis)
    return x


def _resize_axis(x, size):
    """Bilinear along axis 0: half-pixel centres, edges clamped."""
    position = np.clip((np.arange(size) + 0.5) * x.shape[0] / size - 0.5, 0, x.shape[0] - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, x.shape[0] - 1)
    share = (position - low)[:, None, None]
    return x[low] * (1 - share) + x[high] * share


def _global_pool(step, values, image):
    return values[step["input"]].mean(axis=(0, 1))


def _normalize(x, epsilon):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)


def _matmul(x, weights):
    return x @ weights["weight"].astype(np.float64).T + _bias(weights)


def _bias(weights):
    return 0.0 if weights["bias"] is None else weights["bias"].astype(np.float64)


def _activate(x, activation):
    assert activation in ("none", "silu"), activation
    # tanh does not overflow where exp would.
    return x * 0.5 * (1 + np.tanh(x / 2)) if activation == "silu" else x


_KINDS = {
    "stem": _stem,
    "inverted_residual": _inverted_residual,
    "conv3x3": _conv3x3,
    "linear": _linear,
    "ffn": _ffn,
    "attention": _attention,
    "layer_norm": _layer_norm,
    "resize_to_patch": _resize_to_patch,
    "resize_like": _resize_like,
    "global_pool": _global_pool,
}

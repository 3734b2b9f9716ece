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
        output = step["input"] if step["kind"] == "ffn" else step["output"]
        values[output] = _KINDS[step["kind"]](step, values, image)
        channels = plan["tensors"][output]["channels"]
        assert values[output].shape[-1] == channels, f"{step['name']} does not write {channels} channels"
    return [np.moveaxis(values[index], -1, 0) for index in plan["outputs"]]


def _stem(step, values, image):
    return _convolve(image.transpose(1, 2, 0), step)


def _conv3x3(step, values, image):
    inputs = [values[step[key]] for key in ("input", "second_input") if key in step]
    return _convolve(np.concatenate(inputs, axis=-1), step)


def _convolve(x, step):
    windows = _windows(x, step.get("stride", 1))
    y = np.einsum("yxcij,nijc->yxn", windows, step["weight"].astype(np.float64), optimize=True)
    return _silu(y + step["bias"])


def _windows(x, stride):
    """[H, W, C] to [H', W', C, 3, 3] under zero padding 1."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))[::stride, ::stride]


def _inverted_residual(step, values, image):
    x = values[step["input"]]
    expanded = _silu(_matmul(x, step, "expand_"))
    windows, kernel = _windows(expanded, step["stride"]), step["depthwise_weight"].astype(np.float64)
    filtered = _silu(np.einsum("yxcij,ijc->yxc", windows, kernel) + step["depthwise_bias"])
    y = _matmul(filtered, step, "project_")
    return x + y if step["residual"] else y


def _linear(step, values, image):
    x = values[step["input"]]
    y = _matmul(_normalize(x, step["epsilon"]) if step.get("normalize") else x, step)
    y = _silu(y) if step.get("silu") else y
    return y + values[step["residual"]] if "residual" in step else y


def _ffn(step, values, image):
    x = values[step["input"]]
    hidden = _silu(_matmul(_normalize(x, step["epsilon"]), step, "up_"))
    return x + _matmul(hidden, step, "down_")


def _attention(step, values, image):
    qkv, heads = values[step["input"]], step["heads"]
    rows, columns = step["patch"]
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
    return _resize(
        x, *(-(-size // patch) * patch for size, patch in zip(x.shape, step["patch"], strict=False))
    )


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


def _matmul(x, step, prefix=""):
    return x @ step[f"{prefix}weight"].astype(np.float64).T + step.get(f"{prefix}bias", 0)


def _silu(x):
    # tanh does not overflow where exp would.
    return x * 0.5 * (1 + np.tanh(x / 2))


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

"""From a config and its tensors to a plan: the network as plain data that `_C.Engine` takes.

Lowering happens once. It folds each BatchNorm into the convolution before it and each layer norm's scale and
shift into the linear after it (both in float64), lays the weights out channels last and names the algorithm
of each dense 3x3 convolution by the size of its map. A plan knows channels but no sizes: the engine infers
them from each image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mobilevit_fast.config import STAGE_RESIDUALS, STAGE_STRIDES, TRANSFORMER_STAGES, ModelConfig

PRECISIONS = ("fp32",)
"""Precisions that this version computes in."""

OUTPUTS = ("stem", "stages.0", "stages.1", "stages.2", "stages.3", "stages.4", "features", "pooled", "logits")
"""What a plan can hand out, in the order of computation: maps, then the vectors `pooled` and `logits`."""


def lower(
    config: ModelConfig,
    tensors: Mapping[str, np.ndarray],
    *,
    precision: str = "fp32",
    outputs: Sequence[str] = ("logits",),
    reverse_channels: bool = False,
) -> dict[str, Any]:
    """Lowers a model to a plan.

    Args:
        config: the variant.
        tensors: its parameters and BatchNorm statistics under this project's names, any float type, torch
            layouts ([out, in, 3, 3] convolutions, [out, in] linears).
        precision: one of `PRECISIONS`.
        outputs: names of `OUTPUTS`; computation stops after the last of them, and tensors beyond it are not
            needed.
        reverse_channels: the image's channels come in the opposite order of the one that the weights were
            trained with (RGB for BGR); folded into the stem's weights, so it costs nothing.

    Returns:
        `{"image_channels", "tensors", "steps", "outputs"}`, the form that `_C.Engine` takes; weights are
        contiguous float32 arrays.

    Raises:
        ValueError: unknown precision or output, or a tensor that is missing or has the wrong shape, named.
    """
    check_precision(precision)
    unknown = [name for name in outputs if name not in OUTPUTS]
    if unknown or not outputs:
        raise ValueError(f"outputs must name some of {', '.join(OUTPUTS)}; got {list(outputs)}")
    last = max(OUTPUTS.index(name) for name in outputs)
    lowering = _Lowering(config, tensors)
    named = {}
    for name, tensor in lowering.network(reverse_channels):
        named[name] = tensor
        if name == OUTPUTS[last]:
            break
    return {
        "image_channels": 3,
        "tensors": lowering.tensors,
        "steps": lowering.steps,
        "outputs": [named[name] for name in outputs],
    }


def check_precision(precision: str) -> None:
    """Raises ValueError where `precision` is not one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not available; choose one of: {', '.join(PRECISIONS)}")


def convolution_algorithm(map_size: int) -> str:
    """Algorithm of a dense 3x3 convolution with stride 1 on a map of `map_size` x `map_size` pixels.

    Winograd's larger tile saves more multiplications, but a small map leaves its tiles partly empty.
    """
    if map_size >= 16:
        return "winograd4"
    return "winograd2" if map_size >= 8 else "direct"


class _Lowering:
    """One lowering: reads `source`, appends to `tensors` and `steps`."""

    def __init__(self, config: ModelConfig, source: Mapping[str, np.ndarray]) -> None:
        self.config = config
        self.source = source
        self.patch = (config.patch_size, config.patch_size)
        self.tensors: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []

    # ---- the network, top to bottom; maps are the indices of their tensors

    def network(self, reverse_channels: bool) -> Iterator[tuple[str, int]]:
        """Yields (name, tensor) for each of `OUTPUTS`, in order."""
        config = self.config
        x = self.stem(reverse_channels)
        yield "stem", x
        channels, size = config.stem_channels, -(-config.image_size // 2)
        for stage, out_channels in enumerate(config.stage_channels):
            for block in range(STAGE_RESIDUALS[stage]):
                stride = STAGE_STRIDES[stage] if block == 0 else 1
                x = self.inverted_residual(f"stages.{stage}.{block}", x, channels, out_channels, stride)
                channels = out_channels
            size = -(-size // STAGE_STRIDES[stage])
            if stage in TRANSFORMER_STAGES:
                row = TRANSFORMER_STAGES.index(stage)
                x = self.mobilevit_block(f"stages.{stage}.1", x, channels, size, row)
            yield f"stages.{stage}", x
        features = self.pointwise("head", x, channels, config.head_channels)
        yield "features", features
        pooled = self.tensor(config.head_channels)
        self.step("global_pool", "pool", input=features, output=pooled)
        yield "pooled", pooled
        logits = self.tensor(config.num_classes, is_float=True)
        weight, bias = self.fully_connected("classifier", config.head_channels, config.num_classes)
        self.step("linear", "classifier", input=pooled, output=logits, weight=weight, bias=bias)
        yield "logits", logits

    def stem(self, reverse_channels: bool) -> int:
        weight, bias = self.convolution("stem", 3, self.config.stem_channels, 3)
        if reverse_channels:
            weight = weight[:, ::-1]
        output = self.tensor(self.config.stem_channels)
        self.step(
            "stem", "stem", output=output, stride=2, silu=True, weight=_channels_last(weight), bias=bias
        )
        return output

    def inverted_residual(self, name: str, x: int, channels: int, out_channels: int, stride: int) -> int:
        expanded = self.config.expanded_channels(channels)
        expand_weight, expand_bias = self.convolution(f"{name}.expand", channels, expanded, 1)
        depthwise_weight, depthwise_bias = self.convolution(f"{name}.depthwise", 1, expanded, 3)
        project_weight, project_bias = self.convolution(f"{name}.project", expanded, out_channels, 1)
        output = self.tensor(out_channels)
        self.step(
            *("inverted_residual", name),
            input=x,
            output=output,
            expand_weight=expand_weight[:, :, 0, 0],
            expand_bias=expand_bias,
            depthwise_weight=depthwise_weight[:, 0].transpose(1, 2, 0),
            depthwise_bias=depthwise_bias,
            project_weight=project_weight[:, :, 0, 0],
            project_bias=project_bias,
            stride=stride,
            residual=stride == 1 and channels == out_channels,
        )
        return output

    def mobilevit_block(self, name: str, x: int, channels: int, size: int, row: int) -> int:
        dim = self.config.transformer_dims[row]
        local = self.conv3x3(f"{name}.local", channels, size, input=x)
        embedded = self.tensor(dim, is_float=True)
        embed = self.take(f"{name}.embed.weight", (dim, channels, 1, 1))
        self.step("linear", f"{name}.embed", input=local, output=embedded, weight=embed[:, :, 0, 0])
        stream = self.tensor(dim, is_float=True)
        self.step("resize_to_patch", f"{name}.enlarge", input=embedded, output=stream, patch=self.patch)
        for layer in range(self.config.transformer_layers[row]):
            self.attention(f"{name}.layers.{layer}", stream, dim)
            self.ffn(f"{name}.layers.{layer}", stream, dim)
        normalized = self.tensor(dim)
        gamma, beta = self.layer_norm(f"{name}.norm", dim)
        self.step(
            *("layer_norm", f"{name}.norm"),
            input=stream,
            output=normalized,
            gamma=gamma,
            beta=beta,
            epsilon=self.config.layer_norm_eps,
        )
        resized = self.tensor(dim)
        self.step("resize_like", f"{name}.reduce", input=normalized, like=x, output=resized)
        projected = self.pointwise(f"{name}.project", resized, dim, channels)
        return self.conv3x3(f"{name}.fuse", channels, size, input=x, second_input=projected)

    def attention(self, name: str, stream: int, dim: int) -> None:
        """Adds to the float `stream` in place."""
        qkv, mixed = self.tensor(3 * dim), self.tensor(dim)
        weight, bias = self.fully_connected(f"{name}.attention.qkv", dim, 3 * dim)
        weight, bias = self.fold_layer_norm(f"{name}.norm1", weight, bias)
        self.step(
            *("linear", f"{name}.attention.qkv"),
            input=stream,
            output=qkv,
            weight=weight,
            bias=bias,
            normalize=True,
            epsilon=self.config.layer_norm_eps,
        )
        self.step(
            *("attention", f"{name}.attention"),
            input=qkv,
            output=mixed,
            heads=self.config.num_heads,
            patch=self.patch,
        )
        weight, bias = self.fully_connected(f"{name}.attention.projection", dim, dim)
        self.step(
            *("linear", f"{name}.attention.projection"),
            input=mixed,
            residual=stream,
            output=stream,
            weight=weight,
            bias=bias,
        )

    def ffn(self, name: str, stream: int, dim: int) -> None:
        """Adds to the float `stream` in place."""
        hidden = self.config.ffn_dim(dim)
        up = self.fold_layer_norm(f"{name}.norm2", *self.fully_connected(f"{name}.ffn.up", dim, hidden))
        down = self.fully_connected(f"{name}.ffn.down", hidden, dim)
        self.step(
            *("ffn", f"{name}.ffn"),
            input=stream,
            up_weight=up[0],
            up_bias=up[1],
            down_weight=down[0],
            down_bias=down[1],
            epsilon=self.config.layer_norm_eps,
        )

    def conv3x3(self, name: str, channels: int, size: int, **inputs: int) -> int:
        """A dense convolution with SiLU; its inputs have `channels` channels each, as its output has."""
        weight, bias = self.convolution(name, len(inputs) * channels, channels, 3)
        output = self.tensor(channels)
        self.step(
            *("conv3x3", name),
            **inputs,
            output=output,
            weight=_channels_last(weight),
            bias=bias,
            silu=True,
            algorithm=convolution_algorithm(size),
        )
        return output

    def pointwise(self, name: str, x: int, channels: int, out_channels: int) -> int:
        """A 1x1 convolution with SiLU."""
        weight, bias = self.convolution(name, channels, out_channels, 1)
        output = self.tensor(out_channels)
        self.step("linear", name, input=x, output=output, weight=weight[:, :, 0, 0], bias=bias, silu=True)
        return output

    def tensor(self, channels: int, *, is_float: bool = False) -> int:
        self.tensors.append({"channels": channels, "is_float": is_float})
        return len(self.tensors) - 1

    def step(self, kind: str, name: str, **fields: Any) -> None:
        """Appends a step; weights lose their float64 here."""
        for field, value in fields.items():
            if isinstance(value, np.ndarray):
                fields[field] = np.ascontiguousarray(value, dtype=np.float32)
        self.steps.append({"kind": kind, "name": name, **fields})

    # ---- weights, in float64

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in self.source:
            raise ValueError(f"{self.config.name} needs {name} of shape {list(shape)}, which is missing")
        array = np.asarray(self.source[name], dtype=np.float64)
        if array.shape != shape:
            given = list(array.shape)
            raise ValueError(f"{self.config.name} needs {name} of shape {list(shape)}, got {given}")
        return array

    def convolution(self, name: str, inputs: int, out: int, kernel: int) -> tuple[np.ndarray, np.ndarray]:
        """Weight [out, inputs, kernel, kernel] and bias [out] of a convolution, its BatchNorm folded in."""
        weight = self.take(f"{name}.conv.weight", (out, inputs, kernel, kernel))
        gamma, beta, mean, variance = (
            self.take(f"{name}.norm.{part}", (out,))
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + self.config.batch_norm_eps)
        return weight * scale[:, None, None, None], beta - mean * scale

    def fully_connected(self, name: str, inputs: int, out: int) -> tuple[np.ndarray, np.ndarray]:
        return self.take(f"{name}.weight", (out, inputs)), self.take(f"{name}.bias", (out,))

    def layer_norm(self, name: str, dim: int) -> tuple[np.ndarray, np.ndarray]:
        return self.take(f"{name}.weight", (dim,)), self.take(f"{name}.bias", (dim,))

    def fold_layer_norm(
        self, name: str, weight: np.ndarray, bias: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The linear that does to normalised rows what the layer norm `name` and this linear would."""
        gamma, beta = self.layer_norm(name, weight.shape[1])
        return weight * gamma, bias + weight @ beta


def _channels_last(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(0, 2, 3, 1)

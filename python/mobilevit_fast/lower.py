"""From a config and its tensors to a plan: the network as plain data that `_C.Engine` takes.

Lowering happens once. It takes each layer with its norm folded in, lays the weights out channels last and
names the algorithm of each dense 3x3 convolution by the size of its map. A plan knows channels but no sizes:
the engine infers them from each image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from mobilevit_fast.config import STAGE_RESIDUALS, STAGE_STRIDES, TRANSFORMER_STAGES, ModelConfig
from mobilevit_fast.folding import FoldedLayer, Folding

PRECISIONS = ("fp32", "bf16", "fp16")
"""Precisions that the engine computes in."""

OUTPUTS = ("stem", "stages.0", "stages.1", "stages.2", "stages.3", "stages.4", "features", "pooled", "logits")
"""What a plan can hand out, in the order of computation: maps, then the vectors `pooled` and `logits`."""

NONE = -1
"""Stands for "no tensor" where a step names one."""


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
    return Lowering(config, Folding(config, tensors), precision).plan(outputs, reverse_channels)


def check_precision(precision: str) -> None:
    """Raises ValueError where `precision` is not one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not available; choose one of: {', '.join(PRECISIONS)}")


def convolution_algorithm(map_size: int, precision: str) -> str:
    """Algorithm of a dense 3x3 convolution with stride 1 on a map of `map_size` x `map_size` pixels.

    Winograd's larger tile saves more multiplications, but a small map leaves its tiles partly empty, and its
    transforms lose more digits than sixteen bits have to give.
    """
    if map_size >= 12 and precision == "fp32":
        return "winograd4"
    return "winograd2" if map_size >= 3 else "direct"


class LayerSource(Protocol):
    """Where weights come from, every norm but the last of each transformer folded in."""

    def layer(self, name: str) -> FoldedLayer:
        """Weight and bias of a layer of `layer_shapes`."""

    def scale_and_shift(self, name: str, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the layer norm `name`."""


class Lowering:
    """One lowering: reads `weights`, appends to `tensors` and `steps`."""

    def __init__(self, config: ModelConfig, weights: LayerSource, precision: str) -> None:
        self.config = config
        self.precision = precision
        self.weights = weights
        self.tensors: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []

    def plan(self, outputs: Sequence[str], reverse_channels: bool) -> dict[str, Any]:
        """The network up to the last of `outputs`, as `lower` returns it."""
        unknown = [name for name in outputs if name not in OUTPUTS]
        if unknown or not outputs:
            raise ValueError(f"outputs must name some of {', '.join(OUTPUTS)}; got {list(outputs)}")
        last = max(OUTPUTS.index(name) for name in outputs)
        named = {}
        for name, tensor in self.network(reverse_channels):
            if name in outputs:
                named[name] = self.handed_out(tensor)
            if name == OUTPUTS[last]:
                break
        return {
            "image_channels": 3,
            "tensors": self.tensors,
            "steps": self.steps,
            "outputs": [named[name] for name in outputs],
        }

    def handed_out(self, x: int) -> int:
        """The tensor that a plan hands out for `x`."""
        return x

    # ---- the network, top to bottom; every method returns the index of the tensor it computed

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
        x = self.linear("head", x, activation="silu")
        yield "features", x
        x = self.global_pool("pool", x)
        yield "pooled", x
        yield "logits", self.linear("classifier", x, type="float")

    def stem(self, reverse_channels: bool) -> int:
        weight, bias = self.weights.layer("stem")
        if reverse_channels:
            weight = weight[:, ::-1]
        return self.append(
            "stem",
            "stem",
            self.config.stem_channels,
            conv={"in": 3, "out": self.config.stem_channels, "stride": 2, "activation": "silu"},
            conv_weights={"weight": _channels_last(weight), "bias": _float32(bias)},
        )

    def inverted_residual(self, name: str, x: int, channels: int, out_channels: int, stride: int) -> int:
        depthwise, depthwise_bias = self.weights.layer(f"{name}.depthwise")
        return self.append(
            "inverted_residual",
            name,
            out_channels,
            input=x,
            inverted_residual={
                "in": channels,
                "expanded": self.config.expanded_channels(channels),
                "out": out_channels,
                "stride": stride,
                "residual": has_residual(channels, out_channels, stride),
            },
            inverted_residual_weights={
                "expand": _linear_weights(*self.weights.layer(f"{name}.expand")),
                "depthwise": {
                    "weight": _float32(depthwise[:, 0].transpose(1, 2, 0)),
                    "bias": _float32(depthwise_bias),
                },
                "project": _linear_weights(*self.weights.layer(f"{name}.project")),
            },
        )

    def mobilevit_block(self, name: str, x: int, channels: int, size: int, row: int) -> int:
        dim, patch = self.config.transformer_dims[row], self.config.patch_size
        patch_size = {"patch_height": patch, "patch_width": patch}
        local = self.conv3x3(f"{name}.local", x, NONE, channels, size)
        stream = self.linear(f"{name}.embed", local, type="float")
        resize = f"{name}.resize_to_patch"
        stream = self.append("resize_to_patch", resize, dim, type="float", input=stream, **patch_size)
        for layer in range(self.config.transformer_layers[row]):
            self.transformer_layer(f"{name}.layers.{layer}", stream, dim, patch_size)
        y = self.layer_norm(f"{name}.norm", stream, dim)
        y = self.resize_like(f"{name}.resize_like", y, x, dim)
        y = self.linear(f"{name}.project", y, activation="silu")
        return self.conv3x3(f"{name}.fuse", x, y, channels, size)

    def transformer_layer(self, name: str, stream: int, dim: int, patch_size: dict[str, int]) -> None:
        """Both halves add to the float `stream` in place."""
        y = self.linear(f"{name}.attention.qkv", stream, normalize=True)
        y = self.attention(f"{name}.attention", y, dim, patch_size)
        self.linear(f"{name}.attention.projection", y, residual=stream)
        self.ffn(f"{name}.ffn", stream, dim)

    def attention(self, name: str, qkv: int, dim: int, patch_size: dict[str, int]) -> int:
        return self.append("attention", name, dim, input=qkv, heads=self.config.num_heads, **patch_size)

    def ffn(self, name: str, stream: int, dim: int) -> None:
        self.append(
            "ffn",
            name,
            dim,
            input=stream,
            output=stream,
            ffn={"dim": dim, "hidden": self.config.ffn_dim(dim), "epsilon": self.config.layer_norm_eps},
            ffn_weights={
                part: _linear_weights(*self.weights.layer(f"{name}.{part}")) for part in ("up", "down")
            },
        )

    # ---- single steps

    def conv3x3(self, name: str, x: int, second: int, channels: int, size: int) -> int:
        in_second = 0 if second == NONE else channels
        weight, bias = self.weights.layer(name)
        return self.append(
            "conv3x3",
            name,
            channels,
            input=x,
            second_input=second,
            conv={
                "in": channels,
                "in_second": in_second,
                "out": channels,
                "stride": 1,
                "activation": "silu",
                "algorithm": convolution_algorithm(size, self.precision),
            },
            conv_weights={"weight": _channels_last(weight), "bias": _float32(bias)},
        )

    def linear(
        self,
        name: str,
        x: int,
        *,
        activation: str = "none",
        normalize: bool = False,
        type: str = "element",
        residual: int = NONE,
    ) -> int:
        """A 1x1 convolution or fully connected layer; a residual is added to in place."""
        weight, bias = self.weights.layer(name)
        out, inputs = weight.shape[:2]
        return self.append(
            "linear",
            name,
            out,
            type=type,
            input=x,
            residual=residual,
            output=residual,
            linear={
                "in": inputs,
                "out": out,
                "activation": activation,
                "normalize": normalize,
                "epsilon": self.config.layer_norm_eps,
            },
            linear_weights=_linear_weights(weight, bias),
        )

    def layer_norm(self, name: str, stream: int, dim: int, kind: str = "layer_norm", **fields: Any) -> int:
        gamma, beta = self.weights.scale_and_shift(name, dim)
        return self.append(
            kind,
            name,
            dim,
            input=stream,
            epsilon=self.config.layer_norm_eps,
            gamma=_float32(gamma),
            beta=_float32(beta),
            **fields,
        )

    def resize_like(self, name: str, x: int, like: int, dim: int) -> int:
        return self.append("resize_like", name, dim, type=self.tensors[x]["type"], input=x, like=like)

    def global_pool(self, name: str, x: int) -> int:
        return self.append("global_pool", name, self.config.head_channels, input=x)

    def append(
        self,
        kind: str,
        name: str,
        channels: int,
        *,
        type: str = "element",
        output: int = NONE,
        **fields: Any,
    ) -> int:
        """Appends a step that writes the tensor `output`, or a new one of `channels` channels."""
        if output == NONE:
            output = len(self.tensors)
            self.tensors.append({"channels": channels, "type": type})
        self.steps.append({"kind": kind, "name": name, **fields, "output": output})
        return output


def has_residual(channels: int, out_channels: int, stride: int) -> bool:
    """Whether an inverted residual adds its input."""
    return stride == 1 and channels == out_channels


def _float32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.float32)


def _channels_last(weight: np.ndarray) -> np.ndarray:
    return _float32(weight.transpose(0, 2, 3, 1))


def _linear_weights(weight: np.ndarray, bias: np.ndarray | None) -> dict[str, np.ndarray | None]:
    weight = _float32(weight.reshape(weight.shape[:2]))
    return {"weight": weight, "bias": None if bias is None else _float32(bias)}

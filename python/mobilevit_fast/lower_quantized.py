"""From a quantised checkpoint to a plan: each layer as its format says, bytes or floats in between.

An activation that the checkpoint puts on a grid is bytes for whoever reads it. A float layer that reads one
has a dequantize step before it, one that writes one a quantize step behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mobilevit_fast.folding import FoldedLayer
from mobilevit_fast.integer_weights import IntegerLayers
from mobilevit_fast.lower import NONE, Lowering, check_precision, has_residual
from mobilevit_fast.weights.integers import Grid, silu_table
from mobilevit_fast.weights.quantized import QuantizedCheckpoint


def compute_precision(checkpoint: QuantizedCheckpoint) -> str:
    """What the checkpoint's layers compute in: "int8", "fp32" where all are float, or "mixed"."""
    computes = {layer.compute for layer in checkpoint.layers.values()}
    if computes == {"int8"}:
        return "int8"
    return "fp32" if computes == {"float"} else "mixed"


def lower_quantized(
    checkpoint: QuantizedCheckpoint,
    *,
    precision: str = "fp32",
    outputs: Sequence[str] = ("logits",),
    reverse_channels: bool = False,
) -> dict[str, Any]:
    """Lowers a quantised model to a plan for `_C.Engine` with precision "int8".

    Args:
        checkpoint: the model.
        precision: what its float layers compute in; other than "fp32" only where all are float.
        outputs, reverse_channels: as for `lower`.

    Raises:
        ValueError: unknown output or precision, or a layer whose format no kernel computes, named.
    """
    check_precision(precision)
    if precision != "fp32" and compute_precision(checkpoint) != "fp32":
        raise ValueError(f"{checkpoint.source!r} computes on bytes: its float layers cannot be {precision}")
    return _QuantizedLowering(checkpoint, precision).plan(outputs, reverse_channels)


class RealWeights:
    """A quantised checkpoint's weights made real, for its float layers."""

    def __init__(self, checkpoint: QuantizedCheckpoint) -> None:
        self.checkpoint = checkpoint

    def layer(self, name: str) -> FoldedLayer:
        return self.checkpoint.real_weight(name), self.checkpoint.biases[name]

    def scale_and_shift(self, name: str, dim: int) -> tuple[np.ndarray, np.ndarray]:
        return self.checkpoint.norms[f"{name}.weight"], self.checkpoint.norms[f"{name}.bias"]


class _QuantizedLowering(Lowering):
    """Emits a layer's step on bytes, or has the float lowering emit the float one.

    `grids` holds the grid of each tensor that is bytes, `reals` the float twin of those that have one.
    """

    def __init__(self, checkpoint: QuantizedCheckpoint, precision: str) -> None:
        super().__init__(checkpoint.config, RealWeights(checkpoint), precision)
        self.formats = checkpoint.layers
        self.activations = checkpoint.activations
        self.integers = IntegerLayers(checkpoint)
        self.grids: dict[int, Grid] = {}
        self.reals: dict[int, int] = {}

    def is_int8(self, *names: str) -> bool:
        """Whether these layers compute on bytes. Raises ValueError where one computes dynamically."""
        for name in names:
            if self.formats[name].compute == "dynamic":
                raise ValueError(f"{name} cannot compute dynamically: only linear layers do")
        return all(self.formats[name].compute == "int8" for name in names)

    # ---- between bytes and floats

    def handed_out(self, x: int) -> int:
        return self.real(x)

    def real(self, x: int) -> int:
        """`x` as floats."""
        if x not in self.grids:
            return x
        if x not in self.reals:
            self.reals[x] = self.append(
                "dequantize", self.name_of(x), self.channels(x), input=x, **_grid(self.grids[x])
            )
        return self.reals[x]

    def on_grid(self, name: str, x: int) -> int:
        """The activation `name`, computed as floats: bytes where the checkpoint has a grid for it."""
        if name not in self.activations:
            return x
        grid = self.activations[name]
        return self.append_bytes("quantize", name, self.channels(x), grid, input=x, **_grid(grid))

    def append_bytes(self, kind: str, name: str, channels: int, grid: Grid, **fields: Any) -> int:
        """A step that writes bytes on `grid`."""
        output = self.append(kind, name, channels, type="bytes", **fields)
        self.grids[output] = grid
        return output

    def channels(self, x: int) -> int:
        return self.tensors[x]["channels"]

    def name_of(self, x: int) -> str:
        return next(step["name"] for step in self.steps if step["output"] == x)

    def with_silu(self, name: str, input_scale: float) -> dict[str, Any]:
        """Weights of an integer layer with SiLU behind it."""
        before, after = self.activations[f"{name}.pre"], self.activations[name]
        weights = self.integers.to_bytes(name, input_scale, before)
        return weights | {"table": silu_table(before, after)}

    # ---- the layers

    def stem(self, reverse_channels: bool) -> int:
        if not self.is_int8("stem"):
            return self.on_grid("stem", super().stem(reverse_channels))
        image = self.activations["image"]
        weights = self.with_silu("stem", image.scale)
        if reverse_channels:
            weights["weight"] = weights["weight"][:, ::-1]
        return self.append_bytes(
            "int8_stem",
            "stem",
            self.config.stem_channels,
            self.activations["stem"],
            conv={
                "in": 3,
                "out": self.config.stem_channels,
                "stride": 2,
                "input_scale": image.scale,
                "input_zero": image.zero_point,
            },
            conv_weights=_channels_last(weights),
        )

    def inverted_residual(self, name: str, x: int, channels: int, out_channels: int, stride: int) -> int:
        adds = has_residual(channels, out_channels, stride)
        output_name = name if adds else f"{name}.project"
        expand, depthwise, project = (f"{name}.{part}" for part in ("expand", "depthwise", "project"))
        if not self.is_int8(expand, depthwise, project):
            y = super().inverted_residual(name, self.real(x), channels, out_channels, stride)
            return self.on_grid(output_name, y)
        given, expanded, filtered, output = (
            self.grids[x],
            self.activations[expand],
            self.activations[depthwise],
            self.activations[output_name],
        )
        filters = self.with_silu(depthwise, expanded.scale)
        filters["weight"] = np.ascontiguousarray(filters["weight"][:, 0].transpose(1, 2, 0))
        last = self.integers.to_bytes(project, filtered.scale, output)
        residual_multiplier = np.float32(given.scale) / np.float32(output.scale) if adds else np.float32(0)
        last["offset"] -= np.float32(given.zero_point) * residual_multiplier
        return self.append_bytes(
            "int8_inverted_residual",
            name,
            out_channels,
            output,
            input=x,
            inverted_residual={
                "in": channels,
                "expanded": self.config.expanded_channels(channels),
                "out": out_channels,
                "stride": stride,
                "residual": adds,
                "input_zero": given.zero_point,
                "expanded_zero": expanded.zero_point,
                "depthwise_zero": filtered.zero_point,
                "residual_multiplier": float(residual_multiplier),
            },
            inverted_residual_weights={
                "expand": _matrix(self.with_silu(expand, given.scale)),
                "depthwise": filters,
                "project": _matrix(last),
            },
        )

    def conv3x3(self, name: str, x: int, second: int, channels: int, size: int) -> int:
        if not self.is_int8(name):
            second = second if second == NONE else self.real(second)
            return self.on_grid(name, super().conv3x3(name, self.real(x), second, channels, size))
        conv = {"in": channels, "out": channels, "stride": 1, "input_zero": self.grids[x].zero_point}
        if second != NONE:
            conv |= {"in_second": channels, "second_zero": self.grids[second].zero_point}
        return self.append_bytes(
            "int8_conv3x3",
            name,
            channels,
            self.activations[name],
            input=x,
            second_input=second,
            conv=conv,
            conv_weights=_channels_last(self.with_silu(name, self.grids[x].scale)),
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
        compute = self.formats[name].compute
        if compute == "float":
            y = super().linear(
                name,
                self.real(x),
                activation=activation,
                normalize=normalize,
                type=type,
                residual=residual,
            )
            return self.on_grid(name, y)
        if compute == "dynamic":
            fields = {"input": "dynamic", "float_output": True, "activation": activation}
            weights = self.integers.for_dynamic(name)
            y = self.append_linear(name, self.real(x), weights, fields, normalize, type, residual)
            return self.on_grid(name, y)
        if x in self.grids:
            grid, fields = self.grids[x], {"input": "bytes"}
        else:
            grid = self.activations[_own_input(name)]
            fields = {"input": "static", "input_scale": grid.scale}
        fields["input_zero"] = grid.zero_point
        if activation == "silu":
            weights, outputs = self.with_silu(name, grid.scale), (self.activations[name],)
        elif name.endswith(".qkv"):
            outputs = tuple(self.activations[f"{name.removesuffix('qkv')}{part}"] for part in "qkv")
            weights = self.integers.to_bytes(name, grid.scale, *outputs)
        else:
            weights, outputs = self.integers.to_float(name, grid.scale), ()
            fields["float_output"] = True
        y = self.append_linear(name, x, weights, fields, normalize, "bytes" if outputs else type, residual)
        if len(outputs) == 1:
            self.grids[y] = outputs[0]
        return y

    def append_linear(
        self,
        name: str,
        x: int,
        weights: dict[str, Any],
        fields: dict[str, Any],
        normalize: bool,
        type: str,
        residual: int,
    ) -> int:
        weights = _matrix(weights)
        out, inputs = weights["weight"].shape
        fields = {"in": inputs, "out": out, "normalize": normalize, **fields}
        return self.append(
            "int8_linear",
            name,
            out,
            type=type,
            input=x,
            residual=residual,
            output=residual,
            linear=fields | {"epsilon": self.config.layer_norm_eps},
            linear_weights=weights,
        )

    def attention(self, name: str, qkv: int, dim: int, patch_size: dict[str, int]) -> int:
        if self.formats[f"{name}.qkv"].compute != "int8":
            return super().attention(name, qkv, dim, patch_size)
        q, k, v, output = (self.activations[part] for part in (f"{name}.q", f"{name}.k", f"{name}.v", name))
        heads = self.config.num_heads
        return self.append_bytes(
            "int8_attention",
            name,
            dim,
            output,
            input=qkv,
            heads=heads,
            score_scale=q.scale * k.scale / math.sqrt(dim // heads),
            output_multiplier=v.scale / output.scale,
            zero=output.zero_point,
            **patch_size,
        )

    def ffn(self, name: str, stream: int, dim: int) -> None:
        up, down = f"{name}.up", f"{name}.down"
        computes = {self.formats[part].compute for part in (up, down)}
        if computes == {"float"}:
            return super().ffn(name, stream, dim)
        if "int8" not in computes:
            y = self.linear(up, stream, activation="silu", normalize=True)
            self.linear(down, y, residual=stream)
            return None
        rows = self.activations[_own_input(up)]
        hidden = self.activations[up]
        last = _matrix(self.integers.to_float(down, hidden.scale))
        if last["offset"].any():
            # Biases that no sum holds: the fused step adds none behind its sums, as linears do.
            self.linear(down, self.linear(up, stream, activation="silu", normalize=True), residual=stream)
            return None
        self.append(
            "int8_ffn",
            name,
            dim,
            input=stream,
            output=stream,
            ffn={
                "dim": dim,
                "hidden": self.config.ffn_dim(dim),
                "input_scale": rows.scale,
                "input_zero": rows.zero_point,
                "hidden_zero": hidden.zero_point,
                "epsilon": self.config.layer_norm_eps,
            },
            ffn_weights={
                "up": _matrix(self.with_silu(up, rows.scale)),
                "down": {part: last[part] for part in ("weight", "bias", "multiplier")},
            },
        )
        return None

    def layer_norm(self, name: str, stream: int, dim: int, kind: str = "layer_norm", **fields: Any) -> int:
        if name not in self.activations:
            return super().layer_norm(name, stream, dim, kind, **fields)
        grid = self.activations[name]
        y = super().layer_norm(name, stream, dim, "int8_layer_norm", type="bytes", **_grid(grid))
        self.grids[y] = grid
        return y

    def resize_like(self, name: str, x: int, like: int, dim: int) -> int:
        y = super().resize_like(name, x, like, dim)
        if x in self.grids:
            self.grids[y] = self.grids[x]
        return y

    def global_pool(self, name: str, x: int) -> int:
        if x not in self.grids:
            return super().global_pool(name, x)
        return self.append("int8_global_pool", name, self.channels(x), input=x, **_grid(self.grids[x]))


def _own_input(name: str) -> str:
    """Name of the activation that the linear `name` makes bytes of itself."""
    if name == "classifier":
        return "pooled"
    if name.endswith("ffn.up"):
        return f"{name.removesuffix('ffn.up')}norm2"
    return f"{name.removesuffix('attention.qkv')}norm1"


def _grid(grid: Grid) -> dict[str, Any]:
    return {"scale": grid.scale, "zero": grid.zero_point}


def _matrix(weights: dict[str, Any]) -> dict[str, Any]:
    weight = weights["weight"]
    return weights | {"weight": weight.reshape(weight.shape[:2])}


def _channels_last(weights: dict[str, Any]) -> dict[str, Any]:
    return weights | {"weight": np.ascontiguousarray(weights["weight"].transpose(0, 2, 3, 1))}

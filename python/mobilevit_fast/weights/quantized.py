"""A quantised model as plain data, and the safetensors file that holds it.

The layers are those of `layer_shapes`, each with its norm folded in. For each the file has

    <layer>.weight        int8, float16, bfloat16 or float32, in the layer's shape; or
    <layer>.weight_int4   uint8, two weights to a byte, as `pack_int4` packs them
    <layer>.weight_scale  of integer weights: [out], or [out, groups] for groups of `group_size` inputs
    <layer>.bias          [out]

and `stages.S.1.norm.weight` and `.bias`, the one norm that no layer takes in. Scales and biases may be
float32 or float16. Config, preprocessing, labels, formats and the grids of activations are JSON in the file's
metadata.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mobilevit_fast.config import TRANSFORMER_STAGES, ModelConfig
from mobilevit_fast.image.preprocessing import Preprocessing
from mobilevit_fast.weights.byte_tensors import byte_tensors
from mobilevit_fast.weights.integers import Grid, pack_int4, unpack_int4
from mobilevit_fast.weights.labels import check_labels, labels_from_list
from mobilevit_fast.weights.safetensors_file import METADATA_KEY, safetensors_size, write_safetensors
from mobilevit_fast.weights.shapes import Shape, layer_shapes

FLOAT_WEIGHTS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""Kinds of float weights -> their type in the file."""

WEIGHTS = ("int4", "int8", *FLOAT_WEIGHTS)
COMPUTES = ("int8", "dynamic", "float")


@dataclass(frozen=True)
class LayerFormat:
    """How one layer is stored and computed.

    Attributes:
        weights: one of `WEIGHTS`.
        compute: "int8" with bytes in and integer sums; "dynamic" the same with each row of a float input
            quantised on the way, for linears; "float" with float inputs and weights made float.
        group_size: inputs that share a scale, in the order of the weight's memory; 0 for all of an output
            channel. Other than 0 only with "float".

    Raises:
        ValueError: an unknown name or a combination that no engine computes.
    """

    weights: str
    compute: str
    group_size: int = 0

    def __post_init__(self) -> None:
        for field, known in (("weights", WEIGHTS), ("compute", COMPUTES)):
            if getattr(self, field) not in known:
                raise ValueError(f"{field} must be one of {', '.join(known)}, got {getattr(self, field)!r}")
        if type(self.group_size) is not int or self.group_size < 0:
            raise ValueError(f"group_size must be a whole number from 0, got {self.group_size!r}")
        if self.compute != "float" and (not self.is_integer or self.group_size):
            raise ValueError(f"{self.compute} takes integer weights with one scale for each output channel")

    @property
    def is_integer(self) -> bool:
        """Whether weights are integers with scales."""
        return self.weights not in FLOAT_WEIGHTS

    def scale_shape(self, shape: Shape) -> Shape:
        """Shape of the scales of an integer weight of that shape."""
        if not self.group_size:
            return shape[:1]
        return shape[0], -(-math.prod(shape[1:]) // self.group_size)


@dataclass(frozen=True, eq=False)
class QuantizedCheckpoint:
    """A quantised classifier.

    Attributes:
        config: the variant.
        layers: how each layer of `layer_shapes(config)` is stored and computed.
        weights: for each layer int8 of its shape (int4 unpacked), or float32 rounded to the stored type. The
            second half of a fuse convolution's input channels, computed in int8, was multiplied by the second
            input's scale over the first's before it was quantised.
        scales: float32 [out] or [out, groups] for each layer with integer weights.
        biases: float32 [out] for each layer.
        norms: `stages.S.1.norm.weight` and `.bias`, float32.
        activations: grid of each activation of `byte_tensors`; no other activation is bytes.
        preprocessing, labels, source: as of `Checkpoint`.
        recipe: what made it, for people.

    Raises:
        ValueError: parts that are missing, do not fit, or are not finite; each is named.
    """

    config: ModelConfig
    layers: dict[str, LayerFormat]
    weights: dict[str, np.ndarray]
    scales: dict[str, np.ndarray]
    biases: dict[str, np.ndarray]
    norms: dict[str, np.ndarray]
    activations: dict[str, Grid]
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    source: str
    recipe: str

    def __post_init__(self) -> None:
        check_labels(self.labels, self.config.num_classes, self.source)
        shapes = layer_shapes(self.config)
        _check_names("layers", self.layers, shapes)
        integer = [name for name, layer in self.layers.items() if layer.is_integer]
        scales = {name: self.layers[name].scale_shape(shapes[name]) for name in integer}
        norms = _norm_shapes(self.config)
        _check_arrays("weights", self.weights, shapes)
        _check_arrays("scales", self.scales, scales)
        _check_arrays("biases", self.biases, {name: shape[:1] for name, shape in shapes.items()})
        _check_arrays("norms", self.norms, norms)
        for name in integer:
            if self.weights[name].dtype != np.int8:
                raise ValueError(f"weight of {name} must be int8, got {self.weights[name].dtype}")
        computes = {name: layer.compute for name, layer in self.layers.items()}
        _check_names("activations", self.activations, byte_tensors(self.config, computes))

    def real_weight(self, layer: str) -> np.ndarray:
        """float32 of the layer's shape: integer weights times their scales."""
        weight, layer_format = self.weights[layer], self.layers[layer]
        if not layer_format.is_integer:
            return weight
        scale = self.scales[layer].reshape(len(weight), -1)
        rows = weight.reshape(len(weight), -1)
        if layer_format.group_size:
            scale = scale.repeat(layer_format.group_size, axis=1)[:, : rows.shape[1]]
        return (rows * scale).reshape(weight.shape)


def save_quantized(path: str | os.PathLike, checkpoint: QuantizedCheckpoint) -> None:
    """Write one safetensors file, which `load_model` reads without torch.

    Scales and biases are stored in float16 where that changes none of them.

    Raises:
        FileNotFoundError: the folder of `path` does not exist.
    """
    tensors, bfloat16 = _stored_tensors(checkpoint)
    write_safetensors(path, tensors, {METADATA_KEY: _to_json(checkpoint)}, bfloat16=bfloat16)


def quantized_size(checkpoint: QuantizedCheckpoint) -> int:
    """Bytes of the file that `save_quantized` writes."""
    tensors, bfloat16 = _stored_tensors(checkpoint)
    return safetensors_size(tensors, {METADATA_KEY: _to_json(checkpoint)}, bfloat16=bfloat16)


def _stored_tensors(checkpoint: QuantizedCheckpoint) -> tuple[dict[str, np.ndarray], set[str]]:
    """Name in the file -> tensor, and the names of those that are stored in bfloat16."""
    tensors: dict[str, np.ndarray] = {name: narrow(array) for name, array in checkpoint.norms.items()}
    bfloat16 = set()
    for layer, layer_format in checkpoint.layers.items():
        weight = checkpoint.weights[layer]
        if layer_format.weights == "fp16":
            weight = weight.astype(np.float16)
        if layer_format.weights == "int4":
            tensors[f"{layer}.weight_int4"] = pack_int4(weight)
        else:
            tensors[f"{layer}.weight"] = weight
        if layer_format.weights == "bf16":
            bfloat16.add(f"{layer}.weight")
        if layer_format.is_integer:
            tensors[f"{layer}.weight_scale"] = narrow(checkpoint.scales[layer])
        tensors[f"{layer}.bias"] = narrow(checkpoint.biases[layer])
    return tensors, bfloat16


def is_quantized(content: Mapping[str, Any]) -> bool:
    """Whether the JSON of a file's metadata describes a quantised model."""
    return "quantization" in content


def from_file(
    state: Mapping[str, np.ndarray], content: Mapping[str, Any], source: str
) -> QuantizedCheckpoint:
    """The model in the tensors and the JSON of a file that `save_quantized` wrote.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: the content is not such a model.
    """
    config = ModelConfig(**content["config"])
    quantization = content["quantization"]
    layers = {name: LayerFormat(**fields) for name, fields in quantization["layers"].items()}
    shapes = layer_shapes(config)
    _check_names("layers", layers, shapes)
    state = dict(state)
    weights, scales, biases = {}, {}, {}
    for name, layer_format in layers.items():
        weights[name] = _read_weight(state, name, layer_format, shapes[name])
        if layer_format.is_integer:
            scales[name] = _read_float(state, f"{name}.weight_scale")
        biases[name] = _read_float(state, f"{name}.bias")
    norms = {name: _read_float(state, name) for name in _norm_shapes(config)}
    if state:
        raise ValueError(f"unexpected tensor {min(state)!r}")
    return QuantizedCheckpoint(
        config=config,
        layers=layers,
        weights=weights,
        scales=scales,
        biases=biases,
        norms=norms,
        activations={
            name: Grid(float(fields["scale"]), fields["zero_point"])
            for name, fields in quantization["activations"].items()
        },
        preprocessing=Preprocessing.from_dict(content["preprocessing"]),
        labels=labels_from_list(content["labels"]),
        source=source,
        recipe=str(quantization["recipe"]),
    )


def _norm_shapes(config: ModelConfig) -> dict[str, Shape]:
    return {
        f"stages.{stage}.1.norm.{part}": (dim,)
        for stage, dim in zip(TRANSFORMER_STAGES, config.transformer_dims, strict=True)
        for part in ("weight", "bias")
    }


def _to_json(checkpoint: QuantizedCheckpoint) -> str:
    layers = {}
    for name, layer_format in checkpoint.layers.items():
        layers[name] = {key: value for key, value in asdict(layer_format).items() if value}
    content = {
        "config": asdict(checkpoint.config),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "labels": checkpoint.labels,
        "quantization": {
            "recipe": checkpoint.recipe,
            "layers": layers,
            "activations": {
                # The fewest digits that give the same float32 again.
                name: {"scale": float(str(np.float32(grid.scale))), "zero_point": grid.zero_point}
                for name, grid in checkpoint.activations.items()
            },
        },
    }
    return json.dumps(content, separators=(",", ":"))


def narrow(array: np.ndarray) -> np.ndarray:
    """float32 as float16 where that changes no number, else as it is."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else array


def _read_weight(state: dict[str, Any], name: str, layer_format: LayerFormat, shape: Shape) -> np.ndarray:
    if layer_format.weights != "int4":
        weight = _take(state, f"{name}.weight")
        return weight if layer_format.is_integer else _as_float32(f"{name}.weight", weight)
    packed = _take(state, f"{name}.weight_int4")
    size = math.prod(shape)
    if packed.dtype != np.uint8 or packed.shape != ((size + 1) // 2,):
        raise ValueError(
            f"{name}.weight_int4 must be uint8 [{(size + 1) // 2}], got {packed.dtype} {list(packed.shape)}"
        )
    return unpack_int4(packed, shape)


def _read_float(state: dict[str, Any], name: str) -> np.ndarray:
    return _as_float32(name, _take(state, name))


def _take(state: dict[str, Any], name: str) -> np.ndarray:
    if name not in state:
        raise ValueError(f"tensor {name} is missing")
    return np.asarray(state.pop(name))


def _as_float32(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f":
        raise ValueError(f"tensor {name} must be floating point, got {array.dtype}")
    return array.astype(np.float32, copy=False)


def _check_names(what: str, given: Mapping[str, Any], expected: Any) -> None:
    for problem, names in (
        ("missing", [name for name in expected if name not in given]),
        ("unexpected", [name for name in given if name not in expected]),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(f"{what}: {names[0]!r}{more} {problem}")


def _check_arrays(what: str, given: Mapping[str, np.ndarray], expected: Mapping[str, Shape]) -> None:
    _check_names(what, given, expected)
    for name, shape in expected.items():
        if given[name].shape != shape:
            raise ValueError(f"{what} of {name} must be {list(shape)}, got {list(given[name].shape)}")
        if given[name].dtype.kind == "f" and not np.isfinite(given[name]).all():
            raise ValueError(f"{what} of {name} are not all finite")

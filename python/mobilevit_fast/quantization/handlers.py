"""What the recipes do to a float network, in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mobilevit_fast.evaluation import Dataset
from mobilevit_fast.progress import Progress
from mobilevit_fast.quantization.calibration import calibrate
from mobilevit_fast.quantization.config import (
    DynamicInt8,
    HalfPrecision,
    Recipe,
    StaticInt8,
    WeightOnly,
    make_observer,
)
from mobilevit_fast.quantization.equalize import equalize
from mobilevit_fast.quantization.network import QuantizedMobileViT
from mobilevit_fast.quantization.refine import refine
from mobilevit_fast.quantization.rounding import choose_scales
from mobilevit_fast.weights import LayerFormat
from mobilevit_fast.weights.byte_tensors import integer_groups

Notes = tuple[str, ...]
"""What is worth knowing about the outcome, one sentence each."""

_LINEAR = (".embed", ".qkv", ".projection", ".up", ".down", "head", "classifier")
_DELICATE = ("stem", ".depthwise")
"""Ends of the names of layers with so few weights that 4 bits save nothing and cost much."""


def require_images(recipe: Recipe, images: Tensor | None) -> Tensor:
    """The images. Raises ValueError where there are none."""
    if images is None:
        raise ValueError(
            f"{type(recipe).__name__} needs calibration images: pass calibration=, a folder or a list of 32 "
            "or more images like those that the model will see"
        )
    return images


def is_delicate(layer: str) -> bool:
    """Whether the layer keeps 8 bits where others have 4."""
    return layer.endswith(_DELICATE)


def static_formats(network: QuantizedMobileViT, keep: tuple[str, ...] = ()) -> dict[str, LayerFormat]:
    """8 bits throughout, but fp16 for whatever computes together with a layer that `keep` names.

    Raises ValueError for an entry of `keep` that names no layer.
    """
    for name in keep:
        if not any(_is_in(layer, name) for layer in network.layers):
            raise ValueError(f"keep names {name!r}, which is no layer; layers: {', '.join(network.layers)}")
    formats = {}
    for layers, _ in integer_groups(network.config):
        kept = any(_is_in(layer, name) for layer in layers for name in keep)
        layer_format = LayerFormat("fp16", "float") if kept else LayerFormat("int8", "int8")
        formats.update(dict.fromkeys(layers, layer_format))
    return formats


@torch.no_grad()
def round_weights(network: QuantizedMobileViT, formats: dict[str, LayerFormat]) -> None:
    """Put the network into `formats`, every weight rounded to the nearest; needs no images."""
    network.set_formats(formats)
    for name, layer in network.layers.items():
        if layer.format.is_integer:
            choose_scales(layer, network.second_ratio(name))


def half_precision(
    recipe: HalfPrecision, network: QuantizedMobileViT, images: Tensor | None, *_: Any
) -> Notes:
    network.set_formats(dict.fromkeys(network.layers, LayerFormat(recipe.dtype, "float")))
    return ()


def weight_only(recipe: WeightOnly, network: QuantizedMobileViT, images: Tensor | None, *_: Any) -> Notes:
    formats = {}
    for name in network.layers:
        bits = 8 if is_delicate(name) else recipe.bits
        formats[name] = LayerFormat(f"int{bits}", "float", recipe.group_size)
    if images is None:
        round_weights(network, formats)
        return () if recipe.bits == 8 else ("with calibration images weights of 4 bits would lose far less",)
    refine(network, formats, images, correct_bias=True)
    return ()


def dynamic_int8(recipe: DynamicInt8, network: QuantizedMobileViT, images: Tensor | None, *_: Any) -> Notes:
    projections = {f"stages.{stage}.1.project" for stage in (2, 3, 4)}
    formats = {}
    for name in network.layers:
        is_linear = name.endswith(_LINEAR) or name in projections
        formats[name] = LayerFormat("int8", "dynamic" if is_linear else "float")
    round_weights(network, formats)
    return ()


def static_int8(
    recipe: StaticInt8,
    network: QuantizedMobileViT,
    images: Tensor | None,
    validation: Dataset | None = None,
    progress: Progress | None = None,
) -> Notes:
    images = require_images(recipe, images)
    formats = static_formats(network, recipe.keep)
    find_grids(recipe, network, images, progress)
    refine(network, formats, images, correct_bias=recipe.correct_bias)
    return ()


def find_grids(
    recipe: Any, network: QuantizedMobileViT, images: Tensor, progress: Progress | None = None
) -> None:
    """Level the channels, if the recipe says so, and give every activation its grid."""
    if recipe.equalize:
        equalize(network, images, progress)
    calibrate(network, images, make_observer(recipe.observer), progress)


def _is_in(layer: str, name: str) -> bool:
    return f"{layer}.".startswith(f"{name}.")

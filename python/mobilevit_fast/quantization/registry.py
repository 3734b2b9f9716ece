"""Type of recipe -> the function that carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from mobilevit_fast.evaluation import Dataset
from mobilevit_fast.progress import Progress
from mobilevit_fast.quantization.config import (
    DynamicInt8,
    HalfPrecision,
    Mixed,
    Recipe,
    StaticInt8,
    WeightOnly,
)
from mobilevit_fast.quantization.handlers import (
    Notes,
    dynamic_int8,
    half_precision,
    static_int8,
    weight_only,
)
from mobilevit_fast.quantization.mixed import mixed
from mobilevit_fast.quantization.network import QuantizedMobileViT

Handler = Callable[[Any, QuantizedMobileViT, Tensor | None, Dataset | None, Progress | None], Notes]
"""(recipe, float network, calibration images, labelled images, progress) -> notes; quantises the network."""

HANDLERS: Mapping[type, Handler] = {
    StaticInt8: static_int8,
    DynamicInt8: dynamic_int8,
    WeightOnly: weight_only,
    HalfPrecision: half_precision,
    Mixed: mixed,
}


def apply_recipe(
    recipe: Recipe,
    network: QuantizedMobileViT,
    images: Tensor | None = None,
    validation: Dataset | None = None,
    progress: Progress | None = None,
) -> Notes:
    """Quantise a float network in place; returns notes for the report.

    Args:
        images: float32 [N, 3, H, W] to calibrate with, or None.
        validation: labelled images to measure losses on, or None.
        progress: as `quantize` takes it.

    Raises:
        TypeError: no recipe.
        ValueError: the recipe needs images, and there are none.
    """
    check_recipe(recipe)
    return HANDLERS[type(recipe)](recipe, network, images, validation, progress)


def check_recipe(recipe: object) -> None:
    """Raises TypeError for what is no recipe."""
    if type(recipe) not in HANDLERS:
        known = ", ".join(f"{kind.__name__}()" for kind in HANDLERS)
        raise TypeError(f"a recipe must be one of {known}, got {recipe!r}")

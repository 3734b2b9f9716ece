"""What callers give to be quantised and to calibrate with -> a float checkpoint and a tensor of images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mobilevit_fast.config import ModelConfig
from mobilevit_fast.evaluation.dataset import spread
from mobilevit_fast.image import ImageSource, Preprocessing, find_images, preprocess
from mobilevit_fast.image.configs import from_timm
from mobilevit_fast.model import optimize
from mobilevit_fast.weights import Checkpoint, load_checkpoint
from mobilevit_fast.weights.labels import (
    imagenet_labels,
    labels_from_timm,
    labels_from_transformers,
    numbered_labels,
)

ModelSource = nn.Module | Checkpoint | str | os.PathLike
Images = str | os.PathLike | Sequence[ImageSource] | np.ndarray | Tensor

ENOUGH = 32
"""Calibration images with which nothing is wrong."""

MOST = 128
"""More calibration images than this are thinned out evenly: they would take time and change nothing."""

_OUTSIDE = 1.01
"""How far images may reach beyond the range that their preprocessing gives, as a factor."""

_LEAST_CORRELATION = 0.2
"""Between neighbouring pixels; of photographs it is 0.9 and more, of noise 0."""

_FLAT = 1e-6
"""Variance of a plane on which nothing is to be seen."""


class CalibrationWarning(UserWarning):
    """The calibration images are not what the model will see, or too few."""


def to_checkpoint(source: ModelSource) -> Checkpoint:
    """The float checkpoint that `source` is or holds.

    Args:
        source: a module of this project, transformers or timm; or what `load_checkpoint` takes, or gives.

    Raises:
        TypeError, ValueError: a module that is no MobileViT classifier, or another kind of thing.
        FileNotFoundError: as `load_checkpoint` does.

    Warns:
        UserWarning: forward hooks, which no checkpoint holds.
    """
    if isinstance(source, Checkpoint):
        return source
    if isinstance(source, str | os.PathLike):
        return load_checkpoint(source)
    if not isinstance(source, nn.Module):
        raise TypeError(f"cannot quantise a {type(source).__name__}; give a torch module, a path or a hub id")
    _warn_of_hooks(source)
    config, tensors = optimize(source).describe()
    if hasattr(source, "checkpoint"):
        return source.checkpoint()
    if "classifier.weight" not in tensors:
        raise ValueError(
            f"this {type(source).__name__} has no classifier of mean features; give a model for image "
            "classification"
        )
    labels, preprocessing = _from_timm(source, config) or _from_transformers(source, config)
    return Checkpoint(config, dict(tensors), preprocessing, labels, source=config.name)


def _warn_of_hooks(module: nn.Module) -> None:
    hooked = [
        name or "the model"
        for name, part in module.named_modules()
        if part._forward_hooks or part._forward_pre_hooks
    ]
    if hooked:
        warnings.warn(
            f"forward hooks on {', '.join(hooked[:3])}{', ...' if len(hooked) > 3 else ''} are left out: "
            "only weights and settings are taken from a module",
            stacklevel=4,
        )


def to_finite_checkpoint(source: ModelSource) -> Checkpoint:
    """As `to_checkpoint`. Raises ValueError, too, for weights that are not finite: no grid has them."""
    checkpoint = to_checkpoint(source)
    for name, tensor in checkpoint.tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(
                f"{checkpoint.source}: {name} holds numbers that are not finite, and cannot be quantised"
            )
    return checkpoint


def to_images(calibration: Images, preprocessing: Preprocessing, most: int = MOST) -> Tensor:
    """float32 [N, 3, H, W], at most `most` images, spread evenly.

    Args:
        calibration: a folder of images, a sequence of what `load_image` takes, or a float array or tensor
            [N, 3, H, W] that is already preprocessed.

    Raises:
        FileNotFoundError, ValueError, TypeError: no images, or some that cannot be read or are not finite.

    Warns:
        CalibrationWarning: fewer than `ENOUGH` images, noise instead of photographs, or values beyond what
            the preprocessing gives.
    """
    if isinstance(calibration, str | os.PathLike):
        calibration = find_images(calibration)
    if isinstance(calibration, Tensor):
        calibration = calibration.detach().cpu()
        calibration = (calibration.float() if calibration.is_floating_point() else calibration).numpy()
    if not isinstance(calibration, Sequence | np.ndarray):
        raise TypeError(
            "calibration must be a folder, a sequence of images or an array, got "
            f"{type(calibration).__name__}"
        )
    if not len(calibration):
        raise ValueError("no calibration images were given")
    chosen = spread(len(calibration), most)
    if isinstance(calibration, np.ndarray) and calibration.dtype.kind == "f":
        pixels = _check_array(calibration[chosen])
        _warn_of_range((pixels.min(), pixels.max()), preprocessing.value_range)
    else:
        pixels = preprocess([calibration[index] for index in chosen], preprocessing)
    _warn_of_poor(pixels)
    return torch.from_numpy(pixels)


def _from_timm(module: nn.Module, config: ModelConfig) -> tuple[tuple[str, ...], Preprocessing] | None:
    settings = getattr(module, "pretrained_cfg", None)
    if not isinstance(settings, dict):
        return None
    labels = labels_from_timm({"pretrained_cfg": settings})
    if labels is None or len(labels) != config.num_classes:
        labels = imagenet_labels() if config.num_classes == 1000 else numbered_labels(config.num_classes)
    return labels, from_timm(settings)


def _from_transformers(module: nn.Module, config: ModelConfig) -> tuple[tuple[str, ...], Preprocessing]:
    settings: dict[str, Any] = module.config.to_dict()
    labels = labels_from_transformers({"id2label": {str(k): v for k, v in settings["id2label"].items()}})
    size = settings.get("image_size", config.image_size)
    # A model does not hold its processor; these are the values of the apple/* checkpoints.
    rule = Preprocessing(shortest_edge=round(size * 9 / 8), crop_size=(size, size))
    return labels or numbered_labels(config.num_classes), rule


def _check_array(array: np.ndarray) -> np.ndarray:
    if array.ndim != 4 or array.shape[1] != 3 or not array.size:
        raise ValueError(
            f"a calibration array must be [N, 3, H, W] of at least one pixel, got {list(array.shape)}"
        )
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(array).all():
        raise ValueError("the calibration array has values that are not finite in float32")
    return array


def _warn_of_poor(pixels: np.ndarray) -> None:
    if len(pixels) < ENOUGH:
        warnings.warn(
            f"only {len(pixels)} calibration images; give {ENOUGH} or more like those the model will see",
            CalibrationWarning,
            stacklevel=4,
        )
    correlation = _neighbour_correlation(pixels[spread(len(pixels), ENOUGH)])
    if correlation < _LEAST_CORRELATION:
        warnings.warn(
            f"the calibration images look like noise (neighbouring pixels correlate by {correlation:.2f}); "
            "grids chosen on noise do not fit photographs",
            CalibrationWarning,
            stacklevel=4,
        )


def _warn_of_range(seen: tuple[float, float], given: tuple[float, float]) -> None:
    if not is_within(seen, given):
        warnings.warn(
            f"the calibration images hold values from {seen[0]:.3g} to {seen[1]:.3g}, the model's "
            f"preprocessing gives {given[0]:.3g} to {given[1]:.3g}: were they prepared in another way?",
            CalibrationWarning,
            stacklevel=4,
        )


def is_within(seen: tuple[float, float], given: tuple[float, float]) -> bool:
    """Whether values of one range can be of the other, but for rounding."""
    return seen[0] >= given[0] * _OUTSIDE - 1e-6 and seen[1] <= given[1] * _OUTSIDE


def _neighbour_correlation(pixels: np.ndarray) -> float:
    """Mean over all planes of the correlation between a pixel and the next; 0 where nothing varies."""
    planes = pixels.reshape(-1, *pixels.shape[2:])
    left, right = (planes[..., part].reshape(len(planes), -1) for part in (slice(None, -1), slice(1, None)))
    left, right = (x - x.mean(axis=1, keepdims=True) for x in (left, right))
    power = np.sqrt((left**2).sum(1) * (right**2).sum(1))
    return float(np.mean((left * right).sum(1) / np.maximum(power, _FLAT * left.shape[1])))

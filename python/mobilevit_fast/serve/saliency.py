"""What a model looked at: how much less sure it is when a part of the image is covered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mobilevit_fast.image import Preprocessing, load_image, preprocess_one


@dataclass(frozen=True)
class Prepared:
    """An image as the network sees it.

    Attributes:
        pixels: float32 [3, H, W].
        box: left, top, right, bottom of what it shows, as shares of the upright image's width and height.
            A rule that pads gives a box larger than the image.
    """

    pixels: np.ndarray
    box: tuple[float, float, float, float]


def prepare(content: bytes, preprocessing: Preprocessing, max_pixels: int) -> Prepared:
    """Decodes and preprocesses an image file. Raises what `load_image` raises."""
    image = load_image(content, max_pixels=max_pixels)
    height, width = preprocessing.resized_size(image.height, image.width)
    crop = preprocessing.crop_size or (height, width)
    top, left = (
        preprocessing.crop_offset(size, cut) for size, cut in zip((height, width), crop, strict=True)
    )
    box = (left / width, top / height, (left + crop[1]) / width, (top + crop[0]) / height)
    return Prepared(preprocess_one(image, preprocessing, max_pixels=max_pixels), box)


def covered(pixels: np.ndarray, grid: int) -> Iterator[np.ndarray]:
    """Copies of an image float32 [3, H, W], each with another square covered by its mean colour.

    The squares' centres form a grid of `grid` x `grid`, row by row. Each is two cells wide, so that
    neighbours overlap and the map is smooth.
    """
    height, width = pixels.shape[1:]
    mean = pixels.mean(axis=(1, 2), keepdims=True)
    for row in range(grid):
        for column in range(grid):
            copy = pixels.copy()
            copy[:, _span(row, grid, height), _span(column, grid, width)] = mean
            yield copy


def importance(score: float, covered_scores: np.ndarray) -> np.ndarray:
    """How much each square holds up the answer, 0 to 1, float64, in the shape of `covered_scores`.

    Both are log-odds or logits of the class, of the whole image and of the covered ones. The most important
    square is 1; those whose absence helps are 0.
    """
    fall = np.maximum(score - covered_scores, 0.0)
    return fall / fall.max() if fall.max() > 0 else fall


def _span(cell: int, grid: int, size: int) -> slice:
    start, end = ((cell + shift) * size / grid for shift in (-0.5, 1.5))
    return slice(max(0, round(start)), min(size, round(end)))

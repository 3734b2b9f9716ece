"""The arithmetic of preprocessing: resize, crop, channel order, scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, __version__

from mobilevit_fast import _C
from mobilevit_fast.image.decode import MAX_PIXELS, ImageSource, describe_source, image_list, load_image
from mobilevit_fast.image.preprocessing import Preprocessing

_SAME_SINCE = 13
"""Pillow's first version that resizes as the native code does: the height before the width of tall images."""


def preprocess(
    images: ImageSource | Sequence[ImageSource], preprocessing: Preprocessing, *, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Turn images into the batch that the network takes.

    Args:
        images: one image or a sequence of images, each as `load_image` takes it; or an array [N, H, W, 3].
        preprocessing: the rule of the checkpoint that will read the batch.
        max_pixels: see `load_image`.

    Returns:
        float32 [N, 3, H, W], contiguous, channels in the rule's order.

    Raises:
        ValueError: an image that cannot be read, no image, or different sizes where the rule does not crop.
        TypeError, FileNotFoundError: see `load_image`.
    """
    sources = image_list(images)
    if not sources:
        raise ValueError("no images were given")
    if preprocessing.crop_size is not None:
        batch = np.empty((len(sources), 3, *preprocessing.crop_size), np.float32)
        for row, source in zip(batch, sources, strict=True):
            preprocess_one(source, preprocessing, out=row, max_pixels=max_pixels)
        return batch
    rows = [preprocess_one(source, preprocessing, max_pixels=max_pixels) for source in sources]
    shapes = {row.shape for row in rows}
    if len(shapes) > 1:
        raise ValueError(
            f"this rule does not crop, and images of different sizes cannot form a batch: {sorted(shapes)}"
        )
    return np.stack(rows)


def preprocess_one(
    image: ImageSource,
    preprocessing: Preprocessing,
    *,
    out: np.ndarray | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Turn one image into float32 [3, H, W]; safe to call from several threads at once.

    Args:
        image: as `load_image` takes it.
        preprocessing: the rule of the checkpoint that will read the tensor.
        out: float32 [3, H, W], contiguous, to write into and return, such as one row of a batch.
        max_pixels: see `load_image`; it bounds the resized image too.

    Raises:
        ValueError: an image that cannot be read or is too long and thin; an `out` that does not fit.
        TypeError: an `out` that is no array; see `load_image`.
        FileNotFoundError: see `load_image`.
    """
    rgb = load_image(image, max_pixels=max_pixels)
    height, width = preprocessing.resized_size(rgb.height, rgb.width)
    if height * width > max_pixels:
        raise ValueError(
            f"{describe_source(image)} is {rgb.width}x{rgb.height}, too long and thin: "
            f"resized to {width}x{height} it would exceed {max_pixels} pixels"
        )
    return _prepared(rgb, preprocessing, out)


def to_planes(
    image: Image.Image, preprocessing: Preprocessing, *, out: np.ndarray | None = None
) -> np.ndarray:
    """An RGB image of its final size as float32 [3, H, W]: channel order, scale, mean and std.

    Args:
        out: as for `preprocess_one`.

    Raises:
        ValueError: an `out` that does not fit.
    """
    rule = replace(preprocessing, shortest_edge=None, exact_size=None, crop_size=None)
    return _prepared(image, rule, out)


def _prepared(image: Image.Image, rule: Preprocessing, out: np.ndarray | None) -> np.ndarray:
    resized = rule.resized_size(image.height, image.width)
    shape = (3, *(rule.crop_size or resized))
    if out is None:
        out = np.empty(shape, np.float32)
    elif not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, float32 {list(shape)}, got {type(out).__name__}")
    elif out.shape != shape or out.dtype != np.float32:
        raise ValueError(f"out must be float32 {list(shape)}, got {out.dtype} {list(out.shape)}")
    pixels = _shared_pixels(image)
    if pixels is None:
        # To copy a large image costs more than the native resize saves; Pillow's gives the same bytes.
        if resized != (image.height, image.width):
            image = image.resize(resized[::-1], Image.Resampling[rule.resample.upper()])
        pixels = np.asarray(image)
    return _preparer(rule).run(pixels, image.height, image.width, out=out)


def _shared_pixels(image: Image.Image) -> Any:
    """An image's own memory for the native code; None where that is in pieces, or resized otherwise."""
    if int(__version__.partition(".")[0]) < _SAME_SINCE:
        return None
    try:
        return image.__arrow_c_array__()[1]
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _preparer(preprocessing: Preprocessing) -> _C.ImagePreparer:
    return _C.ImagePreparer(preprocessing.to_dict())

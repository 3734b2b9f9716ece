"""Images to check an exported model with, in the form that it takes and in the form that the source takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mobilevit_fast.image import ImageSource, Preprocessing, preprocess


@dataclass(frozen=True)
class Pictures:
    """The same images twice.

    Attributes:
        raw: uint8 [N, 3, H, W], RGB.
        pixels: float32 [N, 3, H, W], as `Preprocessing` makes them.
    """

    raw: np.ndarray
    pixels: np.ndarray

    def given(self, raw_pixels: bool) -> np.ndarray:
        """What a model takes, by `Options.raw_pixels`."""
        return self.raw if raw_pixels else self.pixels


def made_pictures(count: int, size: tuple[int, int], rule: Preprocessing) -> Pictures:
    """Pictures with the content of photographs: gradients, edges, some noise.

    Noise alone would not do: after a global pool all of it looks alike, and any model would agree.
    """
    rng = np.random.default_rng(0)
    height, width = size
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    raw = np.empty((count, 3, height, width), np.uint8)
    for image in raw:
        for plane in image:
            down, across = rng.uniform(-40, 40, 2)
            edge, base, contrast = rng.uniform(0.2, 0.8), rng.uniform(40, 160), rng.uniform(20, 90)
            waves = np.sin(down * y + across * x) * contrast / 2
            values = base + waves + contrast * (y * edge > x * (1 - edge)) + rng.normal(0, 8, y.shape)
            plane[...] = values.clip(0, 255)
    return Pictures(raw, _normalise(raw, rule))


def read_pictures(images: Sequence[ImageSource], size: tuple[int, int], rule: Preprocessing) -> Pictures:
    """Images resized and cropped by the rule, but to `size`.

    Raises ValueError, TypeError or FileNotFoundError where one cannot be read.
    """
    plain = replace(
        rule,
        shortest_edge=None,
        exact_size=size,
        crop_size=None,
        channel_order="RGB",
        rescale=1.0,
        mean=None,
        std=None,
    )
    raw = np.rint(preprocess(list(images), plain)).clip(0, 255).astype(np.uint8)
    return Pictures(raw, _normalise(raw, rule))


def _normalise(raw: np.ndarray, rule: Preprocessing) -> np.ndarray:
    pixels = raw[:, ::-1] if rule.channel_order == "BGR" else raw
    pixels = pixels.astype(np.float32) * np.float32(rule.rescale)
    if rule.mean is not None and rule.std is not None:
        mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (rule.mean, rule.std))
        pixels = (pixels - mean) / std
    return np.ascontiguousarray(pixels, np.float32)

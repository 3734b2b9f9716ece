"""Random changes to training images. What an image becomes depends on its generator alone, so that it is the
same in whichever process, and after whichever interruption, it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageEnhance, ImageOps

_GREY = (128, 128, 128)
_RATIO = (3 / 4, 4 / 3)
_ATTEMPTS = 10


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image.

    Attributes:
        smallest_crop: least share of the image's area that a crop keeps; 1 for the whole image.
        flip: probability of a mirror image.
        rand_augment: how many random operations (colours, contrast, rotation, shear, ...) an image gets.
        magnitude: of those, 0 to 10.
        mixup: an image and another of the set are blended, by shares from a beta distribution with this
            parameter; 0 for never.
        cutmix: a rectangle of another image is pasted in; the parameter as for mixup. With both, each image
            gets one of them.

    Raises:
        ValueError: a value outside its range.
    """

    smallest_crop: float = 0.25
    flip: float = 0.5
    rand_augment: int = 0
    magnitude: float = 7.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for field, low, high in (
            ("smallest_crop", 0.01, 1),
            ("flip", 0, 1),
            ("rand_augment", 0, 10),
            ("magnitude", 0, 10),
            ("mixup", 0, 100),
            ("cutmix", 0, 100),
        ):
            value = getattr(self, field)
            if not low <= value <= high:
                raise ValueError(f"{field} must be from {low} to {high}, got {value!r}")

    @property
    def mixes(self) -> bool:
        """Whether an image may hold another as well."""
        return self.mixup > 0 or self.cutmix > 0


def augment(
    image: Image.Image, size: int, resample: str, augmentation: Augmentation, random: Generator
) -> Image.Image:
    """An RGB image, cropped, mirrored and changed, of `size` x `size` pixels.

    Args:
        resample: one of `image.preprocessing.RESAMPLING`.
    """
    box = choose_crop(image.width, image.height, augmentation.smallest_crop, random)
    image = image.resize((size, size), Image.Resampling[resample.upper()], box=box)
    if random.random() < augmentation.flip:
        image = ImageOps.mirror(image)
    for _ in range(augmentation.rand_augment):
        operation = OPERATIONS[int(random.integers(len(OPERATIONS)))]
        sign = 1 if random.random() < 0.5 else -1
        image = operation(image, sign * augmentation.magnitude / 10)
    return image


def choose_crop(
    width: int, height: int, smallest: float, random: Generator
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a random crop with a share of the area from `smallest` to 1, sides 3:4 to
    4:3.

    Where no such crop is found the largest centred one of an allowed shape is taken.
    """
    for _ in range(_ATTEMPTS):
        area = random.uniform(smallest, 1) * width * height
        ratio = math.exp(random.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        wide, high = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if wide <= width and high <= height:
            left, top = random.uniform(0, width - wide), random.uniform(0, height - high)
            return left, top, left + wide, top + high
    wide, high = min(width, height * _RATIO[1]), min(height, width / _RATIO[0])
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def mix(pixels: np.ndarray, other: np.ndarray, augmentation: Augmentation, random: Generator) -> float:
    """Blend or paste `other` into `pixels`, both float32 [3, H, W], in place; the share of it that stays."""
    mixup, cutmix = augmentation.mixup, augmentation.cutmix
    pastes = cutmix > 0 and (mixup == 0 or random.random() < 0.5)
    parameter = cutmix if pastes else mixup
    share = float(random.beta(parameter, parameter))
    if not pastes:
        pixels *= np.float32(share)
        pixels += np.float32(1 - share) * other
        return share
    _, height, width = pixels.shape
    side = math.sqrt(1 - share)
    high, wide = round(side * height), round(side * width)
    top, left = int(random.integers(height - high + 1)), int(random.integers(width - wide + 1))
    area = np.s_[:, top : top + high, left : left + wide]
    pixels[area] = other[area]
    return 1 - high * wide / (height * width)


# ---- operations of RandAugment: an image and a strength from -1 to 1


def _affine(*rows: Callable[[float], float]) -> Callable[[Image.Image, float], Image.Image]:
    def apply(image: Image.Image, strength: float) -> Image.Image:
        a, b, c, d, e, f = (row(strength) for row in rows)
        matrix = (a, b, c * image.width, d, e, f * image.height)
        return image.transform(
            image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=_GREY
        )

    return apply


def _zero(_: float) -> float:
    return 0.0


def _one(_: float) -> float:
    return 1.0


def _enhance(enhancer: type) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, strength: enhancer(image).enhance(1 + 0.9 * strength)


OPERATIONS: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda image, strength: ImageOps.autocontrast(image),
    lambda image, strength: ImageOps.equalize(image),
    lambda image, strength: ImageOps.posterize(image, round(8 - 4 * abs(strength))),
    lambda image, strength: ImageOps.solarize(image, round(255 * (1 - abs(strength)))),
    lambda image, strength: image.rotate(30 * strength, Image.Resampling.BILINEAR, fillcolor=_GREY),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Sharpness),
    _affine(_one, lambda s: 0.3 * s, _zero, _zero, _one, _zero),
    _affine(_one, _zero, _zero, lambda s: 0.3 * s, _one, _zero),
    _affine(_one, _zero, lambda s: 0.45 * s, _zero, _one, _zero),
    _affine(_one, _zero, _zero, _zero, _one, lambda s: 0.45 * s),
)

"""The rule by which one checkpoint wants its images prepared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Names of Pillow's filters, each at the number by which Pillow and preprocessor_config.json know it."""

MAX_EDGE = 8192
"""Of the images that a model is given, in pixels."""


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop, scale, channel order. The defaults are those of the apple/* checkpoints.

    Attributes:
        shortest_edge: resize so that the shorter side has this many pixels; None to keep the size.
        exact_size: resize to (height, width) without keeping the aspect; excludes `shortest_edge`.
        crop_size: (height, width) of the centre crop, padded with black where the image is smaller; None to
            keep all of it.
        crop_rounding: where the crop starts when an odd number of pixels is cut: "down" one pixel nearer to
            the start (transformers), "even" at the even pixel (timm).
        resample: one of `RESAMPLING`.
        channel_order: "RGB" or "BGR".
        rescale: factor from 0..255 to the network's range.
        mean, std: per channel in `channel_order`, applied after `rescale`; both or neither.

    Raises:
        ValueError: a value that no rule can have.
    """

    shortest_edge: int | None = 288
    exact_size: tuple[int, int] | None = None
    crop_size: tuple[int, int] | None = (256, 256)
    crop_rounding: str = "down"
    resample: str = "bilinear"
    channel_order: str = "BGR"
    rescale: float = 1 / 255
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        for field, known in (
            ("crop_rounding", ("down", "even")),
            ("resample", RESAMPLING),
            ("channel_order", ("RGB", "BGR")),
        ):
            if getattr(self, field) not in known:
                raise ValueError(f"{field} must be one of {', '.join(known)}, got {getattr(self, field)!r}")
        if self.shortest_edge is not None:
            _check_pixels("shortest_edge", self.shortest_edge)
        for field in ("exact_size", "crop_size"):
            size = getattr(self, field)
            if size is not None:
                object.__setattr__(self, field, _pair(field, size))
        if self.shortest_edge is not None and self.exact_size is not None:
            raise ValueError("shortest_edge and exact_size exclude each other")
        if not _is_number(self.rescale):
            raise ValueError(f"rescale must be a finite number, got {self.rescale!r}")
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"mean and std come together, got mean={self.mean!r} and std={self.std!r}")
        for field in ("mean", "std"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, _triple(field, getattr(self, field)))
        if self.std is not None and 0 in self.std:
            raise ValueError(f"std must not be 0, got {self.std!r}")

    @property
    def value_range(self) -> tuple[float, float]:
        """Least and largest number that a prepared image can hold."""
        ends = (0.0, 255 * self.rescale)
        if self.mean is None or self.std is None:
            return min(ends), max(ends)
        scaled = [(end - mean) / std for mean, std in zip(self.mean, self.std, strict=True) for end in ends]
        return min(scaled), max(scaled)

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after the resize of an image of `height` x `width` pixels."""
        if self.exact_size is not None:
            return self.exact_size
        if self.shortest_edge is None:
            return height, width
        longest = int(self.shortest_edge * max(height, width) / min(height, width))
        return (longest, self.shortest_edge) if width <= height else (self.shortest_edge, longest)

    def crop_offset(self, size: int, crop: int) -> int:
        """First row or column of the crop in an image of that `size`; negative where the image is padded."""
        if self.crop_rounding == "down":
            return (size - crop) // 2
        return round((size - crop) / 2) if size >= crop else -((crop - size) // 2)

    def at_size(self, size: int) -> Preprocessing:
        """The same rule with a square crop of `size` pixels, cut from an image resized in proportion."""
        if self.crop_size is None:
            raise ValueError("a rule that does not crop has no size to change")
        old = min(self.crop_size)
        resized = {
            "shortest_edge": None if self.shortest_edge is None else round(self.shortest_edge * size / old),
            "exact_size": None
            if self.exact_size is None
            else tuple(round(edge * size / old) for edge in self.exact_size),
        }
        return replace(self, crop_size=(size, size), **resized)

    def describe(self) -> str:
        """The rule in words: "resize the shorter side to 288 (bilinear), centre crop 256x256, ..."."""
        steps = []
        if self.exact_size is not None:
            steps.append(f"resize to {self.exact_size[0]}x{self.exact_size[1]} ({self.resample})")
        if self.shortest_edge is not None:
            steps.append(f"resize the shorter side to {self.shortest_edge} ({self.resample})")
        if self.crop_size is not None:
            steps.append(f"centre crop {self.crop_size[0]}x{self.crop_size[1]}")
        scale = "1/255" if math.isclose(self.rescale, 1 / 255) else f"{self.rescale:g}"
        steps.append(f"scale by {scale}")
        steps.append(f"{self.channel_order} channels")
        if self.mean is not None and self.std is not None:
            numbers = [" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std)]
            steps.append(f"mean {numbers[0]}, std {numbers[1]}")
        else:
            steps.append("no mean or std")
        return ", ".join(steps)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them; `from_dict` is the way back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The rule that `to_dict` wrote. Raises ValueError on a field that does not exist."""
        unknown = sorted(values.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown preprocessing field {', '.join(unknown)}")
        return cls(**values)


def _check_pixels(field: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_EDGE:
        raise ValueError(f"{field} must be a whole number of pixels from 1 to {MAX_EDGE}, got {value!r}")


def _pair(field: str, size: Any) -> tuple[int, int]:
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise ValueError(f"{field} must be (height, width), got {size!r}")
    for value in size:
        _check_pixels(field, value)
    return tuple(size)


def _triple(field: str, values: Any) -> tuple[float, float, float]:
    if not isinstance(values, list | tuple) or len(values) != 3 or not all(map(_is_number, values)):
        raise ValueError(f"{field} must be three finite numbers, got {values!r}")
    return tuple(float(value) for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

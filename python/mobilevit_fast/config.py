"""What a model variant is: plain numbers, one row for each variant."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

from mobilevit_fast.arguments import suggest

STAGE_STRIDES = (1, 2, 2, 2, 2)
STAGE_RESIDUALS = (1, 3, 1, 1, 1)
"""How many inverted residuals open each stage; stages 2, 3 and 4 end in a transformer block."""

TRANSFORMER_STAGES = (2, 3, 4)

MAX_CHANNELS = 1 << 20
"""Widest layer and most classes: as much as the engine takes."""

_MOST_WHOLE = {
    **dict.fromkeys(("stem_channels", "stage_channels", "transformer_dims", "head_channels"), MAX_CHANNELS),
    "transformer_layers": 1000,
    "num_heads": MAX_CHANNELS,
    "patch_size": 1 << 10,
    "image_size": 1 << 13,
    "num_classes": MAX_CHANNELS,
}
"""Fields that are whole numbers, or lists of them -> the largest: a config can come from any file, and what
it describes is listed layer by layer before a tensor shows whether it is true."""

_LENGTHS = {"stage_channels": 5, "transformer_dims": 3, "transformer_layers": 3}
"""Fields that are lists -> how many entries they have."""

_MOST_REAL = {"expand_ratio": 64.0, "mlp_ratio": 64.0, "layer_norm_eps": 1.0, "batch_norm_eps": 1.0}
"""Fields that are real numbers -> the largest."""


@dataclass(frozen=True)
class ModelConfig:
    """Shape of one MobileViT classifier.

    `stage_channels` holds the output channels of the five stages, `transformer_dims` and
    `transformer_layers` one entry for each of stages 2, 3 and 4. `image_size` (pixels, square) is the size
    that the variant was designed for; the model takes any other as well.

    Raises:
        TypeError: a field of another type; whole numbers may be numpy's, and become Python's.
        ValueError: a number that no model can have, or a list of another length.
    """

    name: str
    stem_channels: int
    stage_channels: tuple[int, ...]
    transformer_dims: tuple[int, ...]
    head_channels: int
    expand_ratio: float
    transformer_layers: tuple[int, ...] = (2, 4, 3)
    num_heads: int = 4
    mlp_ratio: float = 2.0
    patch_size: int = 2
    image_size: int = 256
    num_classes: int = 1000
    layer_norm_eps: float = 1e-5
    batch_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a string, got {self.name!r}")
        for field, most in _MOST_WHOLE.items():
            value, length = getattr(self, field), _LENGTHS.get(field)
            checked = _whole(field, value, most) if length is None else _wholes(field, value, most, length)
            object.__setattr__(self, field, checked)
        for field, most in _MOST_REAL.items():
            object.__setattr__(self, field, _real(field, getattr(self, field), most))
        for dim in self.transformer_dims:
            if dim % self.num_heads:
                raise ValueError(f"transformer_dims must be multiples of {self.num_heads} heads, got {dim}")
            if self.ffn_dim(dim) < 1:
                raise ValueError(f"mlp_ratio {self.mlp_ratio} leaves nothing of a width of {dim}")

    def expanded_channels(self, in_channels: int) -> int:
        """Channels between the expansion and the projection of an inverted residual: a multiple of 8."""
        return make_divisible(round(in_channels * self.expand_ratio), 8)

    def ffn_dim(self, dim: int) -> int:
        """Hidden width of the feed-forward network of a transformer layer of width `dim`."""
        return int(dim * self.mlp_ratio)


def _wholes(field: str, values: Any, most: int, length: int) -> tuple[int, ...]:
    if not isinstance(values, list | tuple):
        raise TypeError(f"{field} must be a list of {length} whole numbers, got {values!r}")
    if len(values) != length:
        raise ValueError(f"{field} needs {length} entries, got {len(values)}: {values!r}")
    return tuple(_whole(field, value, most) for value in values)


def _whole(field: str, value: Any, most: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{field} must be a whole number, got {value!r}")
    _check_range(field, number, most)
    return number


def _real(field: str, value: Any, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{field} must be a number, got {value!r}")
    _check_range(field, value, most)
    return float(value)


def _check_range(field: str, value: Any, most: float) -> None:
    if value <= 0:
        raise ValueError(f"{field} must be positive, got {value!r}")
    # Nor is NaN at most anything.
    if not value <= most:
        raise ValueError(f"{field} must be at most {most}, got {value!r}")


def make_divisible(value: int, divisor: int) -> int:
    """The multiple of `divisor` nearest to `value`, no less than `divisor` or 0.9 `value`."""
    rounded = max(divisor, (value + divisor // 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


_ROWS = (
    ModelConfig(
        name="mobilevit_xxs",
        stem_channels=16,
        stage_channels=(16, 24, 48, 64, 80),
        transformer_dims=(64, 80, 96),
        head_channels=320,
        expand_ratio=2.0,
    ),
    ModelConfig(
        name="mobilevit_xs",
        stem_channels=16,
        stage_channels=(32, 48, 64, 80, 96),
        transformer_dims=(96, 120, 144),
        head_channels=384,
        expand_ratio=4.0,
    ),
    ModelConfig(
        name="mobilevit_s",
        stem_channels=16,
        stage_channels=(32, 64, 96, 128, 160),
        transformer_dims=(144, 192, 240),
        head_channels=640,
        expand_ratio=4.0,
    ),
)

MODELS: Mapping[str, ModelConfig] = {row.name: row for row in _ROWS}
"""Every known variant by name."""


def list_models() -> list[str]:
    """Names that `get_config` and `create_model` take, smallest model first."""
    return list(MODELS)


def get_config(name: str, **overrides: Any) -> ModelConfig:
    """The variant called `name`, with single fields replaced, such as `num_classes=10`.

    Raises:
        ValueError: unknown variant (near names are suggested), unknown field, or an impossible value.
        TypeError: `name` is not a string, or a field of another type.
    """
    if not isinstance(name, str):
        known = ", ".join(MODELS)
        raise TypeError(f"a model name must be a string, got {type(name).__name__}; known: {known}")
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; {suggest(name, MODELS, cutoff=0.5)}")
    known = {field.name for field in fields(ModelConfig)} - {"name"}
    unknown = sorted(overrides.keys() - known)
    if unknown:
        raise ValueError(f"unknown config field {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return replace(MODELS[name], **overrides)

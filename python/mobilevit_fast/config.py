"""What a model variant is: plain numbers, one row for each variant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

STAGE_STRIDES = (1, 2, 2, 2, 2)
STAGE_RESIDUALS = (1, 3, 1, 1, 1)
"""How many inverted residuals open each stage; stages 2, 3 and 4 end in a transformer block."""

TRANSFORMER_STAGES = (2, 3, 4)


@dataclass(frozen=True)
class ModelConfig:
    """Shape of one MobileViT classifier.

    `stage_channels` holds the output channels of the five stages, `transformer_dims` and
    `transformer_layers` one entry for each of stages 2, 3 and 4. `image_size` (pixels, square) is the size
    that the variant was designed for; the model takes any other as well.
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
        for field, length in (("stage_channels", 5), ("transformer_dims", 3), ("transformer_layers", 3)):
            values = getattr(self, field)
            if len(values) != length:
                raise ValueError(f"{field} needs {length} entries, got {len(values)}: {values!r}")
            object.__setattr__(self, field, tuple(int(value) for value in values))
        positive = (
            *("stem_channels", "stage_channels", "transformer_dims", "head_channels", "expand_ratio"),
            *("transformer_layers", "num_heads", "mlp_ratio", "patch_size", "image_size", "num_classes"),
            *("layer_norm_eps", "batch_norm_eps"),
        )
        for field in positive:
            value = getattr(self, field)
            if min(value if isinstance(value, tuple) else (value,)) <= 0:
                raise ValueError(f"{field} must be positive, got {value!r}")
        for dim in self.transformer_dims:
            if dim % self.num_heads:
                raise ValueError(f"transformer_dims must be multiples of {self.num_heads} heads, got {dim}")

    def expanded_channels(self, in_channels: int) -> int:
        """Channels between the expansion and the projection of an inverted residual: a multiple of 8."""
        return make_divisible(round(in_channels * self.expand_ratio), 8)

    def ffn_dim(self, dim: int) -> int:
        """Hidden width of the feed-forward network of a transformer layer of width `dim`."""
        return int(dim * self.mlp_ratio)


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
        TypeError: `name` is not a string.
    """
    if not isinstance(name, str):
        known = ", ".join(MODELS)
        raise TypeError(f"a model name must be a string, got {type(name).__name__}; known: {known}")
    if name not in MODELS:
        near = difflib.get_close_matches(name.lower(), MODELS, n=3, cutoff=0.5) or list(MODELS)
        raise ValueError(f"unknown model {name!r}; did you mean {' or '.join(near)}?")
    known = {field.name for field in fields(ModelConfig)} - {"name"}
    unknown = sorted(overrides.keys() - known)
    if unknown:
        raise ValueError(f"unknown config field {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return replace(MODELS[name], **overrides)

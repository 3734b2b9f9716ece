"""A variant from and to the config.json of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mobilevit_fast.config import MODELS, ModelConfig

_FIXED = {
    "num_channels": 3,
    "hidden_act": "silu",
    "conv_kernel_size": 3,
    "output_stride": 32,
    "qkv_bias": True,
}
"""Settings of transformers' MobileViT that its classifiers share and that this project builds in."""


def config_from_transformers(config: Mapping[str, Any], num_classes: int) -> ModelConfig:
    """The variant in a config.json of a MobileViT v1, with transformers' defaults (those of mobilevit_s).

    Raises:
        ValueError: another kind of model, or a setting that is malformed or not supported.
    """
    kind = config.get("model_type")
    if kind != "mobilevit":
        raise ValueError(f"model_type must be 'mobilevit', got {kind!r}")
    for key, value in _FIXED.items():
        if config.get(key, value) != value:
            raise ValueError(f"{key} must be {value!r}, got {config[key]!r}")
    default = MODELS["mobilevit_s"]
    try:
        stem, *stages, head = config.get(
            "neck_hidden_sizes", (default.stem_channels, *default.stage_channels, default.head_channels)
        )
        model = ModelConfig(
            name="mobilevit_custom",
            stem_channels=stem,
            stage_channels=tuple(stages),
            transformer_dims=tuple(config.get("hidden_sizes", default.transformer_dims)),
            head_channels=head,
            expand_ratio=config.get("expand_ratio", default.expand_ratio),
            num_heads=config.get("num_attention_heads", default.num_heads),
            mlp_ratio=config.get("mlp_ratio", default.mlp_ratio),
            patch_size=_square(config.get("patch_size", default.patch_size)),
            image_size=_square(config.get("image_size", default.image_size)),
            num_classes=num_classes,
            layer_norm_eps=config.get("layer_norm_eps", default.layer_norm_eps),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"not the sizes of a MobileViT: {error}") from None
    return _named(model)


def config_to_transformers(config: ModelConfig, labels: Sequence[str]) -> dict[str, Any]:
    """The content of a config.json from which transformers builds MobileViTForImageClassification.

    Raises:
        ValueError: a number of transformer layers or a BatchNorm epsilon that transformers does not have.
    """
    default = MODELS["mobilevit_s"]
    for field in ("transformer_layers", "batch_norm_eps"):
        value, only = getattr(config, field), getattr(default, field)
        if value != only:
            raise ValueError(f"transformers' MobileViT has {field} {only} only, this model has {value}")
    return {
        "architectures": ["MobileViTForImageClassification"],
        "model_type": "mobilevit",
        **_FIXED,
        "hidden_sizes": list(config.transformer_dims),
        "neck_hidden_sizes": [config.stem_channels, *config.stage_channels, config.head_channels],
        "expand_ratio": config.expand_ratio,
        "num_attention_heads": config.num_heads,
        "mlp_ratio": config.mlp_ratio,
        "patch_size": config.patch_size,
        "image_size": config.image_size,
        "layer_norm_eps": config.layer_norm_eps,
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        "dtype": "float32",
    }


def _square(size: Any) -> int:
    if isinstance(size, list | tuple) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    if type(size) is not int:
        raise ValueError(f"only square sizes are supported, got {size!r}")
    return size


def _named(model: ModelConfig) -> ModelConfig:
    """`model` under the name of the known variant that it is, if it is one."""
    for known in MODELS.values():
        if known == replace(
            model,
            name=known.name,
            image_size=known.image_size,
            num_classes=known.num_classes,
            layer_norm_eps=known.layer_norm_eps,
        ):
            return replace(model, name=known.name)
    return model

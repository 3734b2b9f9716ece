"""Shapes of the parameters of a variant, and the variant that has given shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mobilevit_fast.config import MODELS, STAGE_RESIDUALS, TRANSFORMER_STAGES, ModelConfig

Shape = tuple[int, ...]


def parameter_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Our name of every parameter -> its shape; convolutions are [out, in / groups, height, width]."""
    shapes: dict[str, Shape] = {}

    def conv_norm(name: str, out_channels: int, in_channels: int, size: int) -> None:
        shapes[f"{name}.conv.weight"] = (out_channels, in_channels, size, size)
        for parameter in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.norm.{parameter}"] = (out_channels,)

    def linear(name: str, out_features: int, in_features: int) -> None:
        shapes[f"{name}.weight"] = (out_features, in_features)
        shapes[f"{name}.bias"] = (out_features,)

    def layer_norm(name: str, dim: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (dim,)

    conv_norm("stem", config.stem_channels, 3, 3)
    channels = config.stem_channels
    for stage, (out_channels, blocks) in enumerate(zip(config.stage_channels, STAGE_RESIDUALS, strict=True)):
        for block in range(blocks):
            hidden = config.expanded_channels(channels)
            conv_norm(f"stages.{stage}.{block}.expand", hidden, channels, 1)
            conv_norm(f"stages.{stage}.{block}.depthwise", hidden, 1, 3)
            conv_norm(f"stages.{stage}.{block}.project", out_channels, hidden, 1)
            channels = out_channels
        if stage not in TRANSFORMER_STAGES:
            continue
        index = TRANSFORMER_STAGES.index(stage)
        dim, block_name = config.transformer_dims[index], f"stages.{stage}.1"
        conv_norm(f"{block_name}.local", channels, channels, 3)
        shapes[f"{block_name}.embed.weight"] = (dim, channels, 1, 1)
        for layer in range(config.transformer_layers[index]):
            name = f"{block_name}.layers.{layer}"
            layer_norm(f"{name}.norm1", dim)
            linear(f"{name}.attention.qkv", 3 * dim, dim)
            linear(f"{name}.attention.projection", dim, dim)
            layer_norm(f"{name}.norm2", dim)
            linear(f"{name}.ffn.up", config.ffn_dim(dim), dim)
            linear(f"{name}.ffn.down", dim, config.ffn_dim(dim))
        layer_norm(f"{block_name}.norm", dim)
        conv_norm(f"{block_name}.project", channels, dim, 1)
        conv_norm(f"{block_name}.fuse", channels, 2 * channels, 3)
    conv_norm("head", config.head_channels, channels, 1)
    linear("classifier", config.num_classes, config.head_channels)
    return shapes


def layer_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Name of every layer with weights -> shape of its weight, in the order of computation.

    A layer is named by its module: `stem`, `stages.S.B.expand`, `stages.S.1.layers.L.attention.qkv`, `head`.
    """
    return {
        name.removesuffix(".weight").removesuffix(".conv"): shape
        for name, shape in parameter_shapes(config).items()
        if len(shape) > 1
    }


def infer_config(shapes: Mapping[str, Shape]) -> ModelConfig:
    """The variant that fits the shapes of the parameters, by our names, best; a known one if it fits as well.

    Shapes tell neither the number of heads nor the image size: those are the defaults. Where parameters are
    missing or misshapen the answer is the nearest variant, against which `to_canonical` names them.
    """
    classes = shapes.get("classifier.weight") or shapes.get("classifier.bias")
    candidates = [*MODELS.values(), *_read_widths(shapes)]
    fits = [_matches(config, shapes) for config in candidates]
    config = candidates[fits.index(max(fits))]
    return replace(config, num_classes=classes[0]) if classes and classes[0] > 0 else config


def _matches(config: ModelConfig, shapes: Mapping[str, Shape]) -> int:
    expected = parameter_shapes(config)
    return sum(
        shapes.get(name) == shape for name, shape in expected.items() if not name.startswith("classifier.")
    )


def _read_widths(shapes: Mapping[str, Shape]) -> list[ModelConfig]:
    """The variant of other widths that the shapes spell out, or none where they do not."""
    try:
        dims = tuple(shapes[f"stages.{stage}.1.embed.weight"][0] for stage in TRANSFORMER_STAGES)
        stem = shapes["stem.conv.weight"][0]
        config = ModelConfig(
            name="mobilevit_custom",
            stem_channels=stem,
            stage_channels=tuple(shapes[f"stages.{stage}.0.project.conv.weight"][0] for stage in range(5)),
            transformer_dims=dims,
            head_channels=shapes["head.conv.weight"][0],
            expand_ratio=shapes["stages.0.0.expand.conv.weight"][0] / stem,
            mlp_ratio=shapes["stages.2.1.layers.0.ffn.up.weight"][0] / dims[0],
        )
    except (KeyError, IndexError, ZeroDivisionError, ValueError):
        return []
    return [config]

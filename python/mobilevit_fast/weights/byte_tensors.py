"""Which activations of a quantised model are bytes: those that a layer in integers reads or writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mobilevit_fast.config import STAGE_RESIDUALS, STAGE_STRIDES, TRANSFORMER_STAGES, ModelConfig

Names = tuple[str, ...]


def integer_groups(config: ModelConfig) -> Iterator[tuple[Names, Names]]:
    """Yields (layers, tensors) in the order of computation.

    The layers of a group are one step of the integer engine, so either all compute in int8 or none. The
    tensors are what the group then reads or writes as bytes: the one before SiLU is `<layer>.pre`, the one
    after it `<layer>`.
    """
    x = "image"
    yield ("stem",), (x, *_silu("stem"))
    x, channels = "stem", config.stem_channels
    for stage, out_channels in enumerate(config.stage_channels):
        for block in range(STAGE_RESIDUALS[stage]):
            name = f"stages.{stage}.{block}"
            has_residual = (STAGE_STRIDES[stage] == 1 or block > 0) and channels == out_channels
            output = name if has_residual else f"{name}.project"
            layers = (f"{name}.expand", f"{name}.depthwise", f"{name}.project")
            yield layers, (x, *_silu(layers[0]), *_silu(layers[1]), output)
            x, channels = output, out_channels
        if stage in TRANSFORMER_STAGES:
            depth = config.transformer_layers[TRANSFORMER_STAGES.index(stage)]
            yield from _transformer_block(f"stages.{stage}.1", x, depth)
            x = f"stages.{stage}.1.fuse"
    yield ("head",), (x, *_silu("head"))
    yield ("classifier",), ("pooled",)


def byte_tensors(config: ModelConfig, computes: Mapping[str, str]) -> Names:
    """Names of the activations on a grid, in the order of computation.

    Args:
        computes: how each layer computes: "int8", "dynamic" or "float".

    Raises:
        ValueError: layers of one group compute differently, the group named.
    """
    names: dict[str, None] = {}
    for layers, tensors in integer_groups(config):
        given = [computes[layer] == "int8" for layer in layers]
        if any(given) and not all(given):
            found = ", ".join(f"{layer}: {computes[layer]}" for layer in layers)
            raise ValueError(f"these layers compute together, all in int8 or none: {found}")
        if all(given):
            names.update(dict.fromkeys(tensors))
    return tuple(names)


def _transformer_block(name: str, x: str, depth: int) -> Iterator[tuple[Names, Names]]:
    yield (f"{name}.local",), (x, *_silu(f"{name}.local"))
    yield (f"{name}.embed",), (f"{name}.local",)
    for index in range(depth):
        layer = f"{name}.layers.{index}"
        attention = f"{layer}.attention"
        parts = tuple(f"{attention}.{part}" for part in ("q", "k", "v"))
        yield (f"{attention}.qkv", f"{attention}.projection"), (f"{layer}.norm1", *parts, attention)
        yield (f"{layer}.ffn.up", f"{layer}.ffn.down"), (f"{layer}.norm2", *_silu(f"{layer}.ffn.up"))
    yield (f"{name}.project",), (f"{name}.norm", *_silu(f"{name}.project"))
    yield (f"{name}.fuse",), (x, f"{name}.project", *_silu(f"{name}.fuse"))


def _silu(layer: str) -> Names:
    return f"{layer}.pre", layer

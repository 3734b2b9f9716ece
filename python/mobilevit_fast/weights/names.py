"""What each family of checkpoints calls the parameters of MobileViT v1."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from types import MappingProxyType

from mobilevit_fast.config import STAGE_RESIDUALS, TRANSFORMER_STAGES, ModelConfig

OURS = "mobilevit_fast"
TRANSFORMERS = "transformers"
TIMM = "timm"
CVNETS = "cvnets"

FAMILIES = (OURS, TRANSFORMERS, TIMM, CVNETS)
"""Known families, in the order of the columns below."""

TRANSFORMERS_PREFIX = "mobilevit."
"""What a transformers classifier puts before every name but the classifier's; its bare backbone does not."""

# One module a row, one family a column. {early} counts stages without attention and {late} those with it
# (from 0; cvnets counts from 1), {b} blocks in a stage, {l} transformer layers in a block, {depth} is the
# number of those.
_CONV_NORM = (
    ("stem", "conv_stem", "stem", "conv_1"),
    (
        "stages.{early}.{b}.expand",
        "encoder.layer.{early}.layer.{b}.expand_1x1",
        "stages.{early}.{b}.conv1_1x1",
        "layer_{early}.{b}.block.exp_1x1",
    ),
    (
        "stages.{early}.{b}.depthwise",
        "encoder.layer.{early}.layer.{b}.conv_3x3",
        "stages.{early}.{b}.conv2_kxk",
        "layer_{early}.{b}.block.conv_3x3",
    ),
    (
        "stages.{early}.{b}.project",
        "encoder.layer.{early}.layer.{b}.reduce_1x1",
        "stages.{early}.{b}.conv3_1x1",
        "layer_{early}.{b}.block.red_1x1",
    ),
    (
        "stages.{late}.0.expand",
        "encoder.layer.{late}.downsampling_layer.expand_1x1",
        "stages.{late}.0.conv1_1x1",
        "layer_{late}.0.block.exp_1x1",
    ),
    (
        "stages.{late}.0.depthwise",
        "encoder.layer.{late}.downsampling_layer.conv_3x3",
        "stages.{late}.0.conv2_kxk",
        "layer_{late}.0.block.conv_3x3",
    ),
    (
        "stages.{late}.0.project",
        "encoder.layer.{late}.downsampling_layer.reduce_1x1",
        "stages.{late}.0.conv3_1x1",
        "layer_{late}.0.block.red_1x1",
    ),
    (
        "stages.{late}.1.local",
        "encoder.layer.{late}.conv_kxk",
        "stages.{late}.1.conv_kxk",
        "layer_{late}.1.local_rep.conv_3x3",
    ),
    (
        "stages.{late}.1.project",
        "encoder.layer.{late}.conv_projection",
        "stages.{late}.1.conv_proj",
        "layer_{late}.1.conv_proj",
    ),
    (
        "stages.{late}.1.fuse",
        "encoder.layer.{late}.fusion",
        "stages.{late}.1.conv_fusion",
        "layer_{late}.1.fusion",
    ),
    ("head", "conv_1x1_exp", "final_conv", "conv_1x1_exp"),
)

_CONV = (
    (
        "stages.{late}.1.embed",
        "encoder.layer.{late}.conv_1x1.convolution",
        "stages.{late}.1.conv_1x1",
        "layer_{late}.1.local_rep.conv_1x1.block.conv",
    ),
)

_AFFINE = (
    (
        "stages.{late}.1.layers.{l}.norm1",
        "encoder.layer.{late}.transformer.layer.{l}.layernorm_before",
        "stages.{late}.1.transformer.{l}.norm1",
        "layer_{late}.1.global_rep.{l}.pre_norm_mha.0",
    ),
    (
        "stages.{late}.1.layers.{l}.attention.qkv",
        "encoder.layer.{late}.transformer.layer.{l}.attention.attention.{part}",
        "stages.{late}.1.transformer.{l}.attn.qkv",
        "layer_{late}.1.global_rep.{l}.pre_norm_mha.1.qkv_proj",
    ),
    (
        "stages.{late}.1.layers.{l}.attention.projection",
        "encoder.layer.{late}.transformer.layer.{l}.attention.output.dense",
        "stages.{late}.1.transformer.{l}.attn.proj",
        "layer_{late}.1.global_rep.{l}.pre_norm_mha.1.out_proj",
    ),
    (
        "stages.{late}.1.layers.{l}.norm2",
        "encoder.layer.{late}.transformer.layer.{l}.layernorm_after",
        "stages.{late}.1.transformer.{l}.norm2",
        "layer_{late}.1.global_rep.{l}.pre_norm_ffn.0",
    ),
    (
        "stages.{late}.1.layers.{l}.ffn.up",
        "encoder.layer.{late}.transformer.layer.{l}.intermediate.dense",
        "stages.{late}.1.transformer.{l}.mlp.fc1",
        "layer_{late}.1.global_rep.{l}.pre_norm_ffn.1",
    ),
    (
        "stages.{late}.1.layers.{l}.ffn.down",
        "encoder.layer.{late}.transformer.layer.{l}.output.dense",
        "stages.{late}.1.transformer.{l}.mlp.fc2",
        "layer_{late}.1.global_rep.{l}.pre_norm_ffn.4",
    ),
    (
        "stages.{late}.1.norm",
        "encoder.layer.{late}.layernorm",
        "stages.{late}.1.norm",
        "layer_{late}.1.global_rep.{depth}",
    ),
    ("classifier", "classifier", "head.fc", "classifier.fc"),
)

_CONV_SUFFIX = {OURS: "conv", TRANSFORMERS: "convolution", TIMM: "conv", CVNETS: "block.conv"}
_NORM_SUFFIX = {OURS: "norm", TRANSFORMERS: "normalization", TIMM: "bn", CVNETS: "block.norm"}
_NORM_PARAMETERS = ("weight", "bias", "running_mean", "running_var")


@cache
def parameter_names(
    family: str, transformer_layers: tuple[int, ...], *, prefixed: bool = True
) -> Mapping[str, tuple[str, ...]]:
    """Our name of every parameter -> the names that hold it in `family`.

    There is one name each, except that transformers keeps query, key and value apart: their rows, in this
        order,
    are ours.

    Args:
        family: one of `FAMILIES`.
        transformer_layers: layers in the three transformer blocks.
        prefixed: whether names of transformers start with `TRANSFORMERS_PREFIX`.
    """
    prefix = TRANSFORMERS_PREFIX if family == TRANSFORMERS and prefixed else ""
    conv, norm = _CONV_SUFFIX[family], _NORM_SUFFIX[family]
    names: dict[str, tuple[str, ...]] = {}
    for ours, theirs in _modules(_CONV_NORM, family, transformer_layers):
        names[f"{ours}.conv.weight"] = (f"{prefix}{theirs}.{conv}.weight",)
        for parameter in _NORM_PARAMETERS:
            names[f"{ours}.norm.{parameter}"] = (f"{prefix}{theirs}.{norm}.{parameter}",)
    for ours, theirs in _modules(_CONV, family, transformer_layers):
        names[f"{ours}.weight"] = (f"{prefix}{theirs}.weight",)
    for ours, theirs in _modules(_AFFINE, family, transformer_layers):
        parts = ("query", "key", "value") if "{part}" in theirs else ("",)
        start = "" if ours == "classifier" else prefix
        for parameter in ("weight", "bias"):
            names[f"{ours}.{parameter}"] = tuple(
                f"{start}{theirs.replace('{part}', part)}.{parameter}" for part in parts
            )
    return MappingProxyType(names)


def find_family(keys: Collection[str]) -> tuple[str, bool]:
    """(family, prefixed) of the checkpoint with these keys: the one that knows the most of them.

    Raises:
        ValueError: fewer than half of any family's names are there.
    """
    layers = ModelConfig.transformer_layers
    given = set(keys)
    best, found = ("", False), 0
    candidates = [(family, False) for family in FAMILIES] + [(TRANSFORMERS, True)]
    for family, prefixed in candidates:
        names = {
            name for group in parameter_names(family, layers, prefixed=prefixed).values() for name in group
        }
        if len(names & given) > max(found, len(names) // 2):
            best, found = (family, prefixed), len(names & given)
    if not found:
        some = ", ".join(sorted(given)[:3]) or "none"
        known = ", ".join(FAMILIES)
        raise ValueError(
            f"not a MobileViT v1 checkpoint of any known family ({known}); its names start: {some}"
        )
    return best


def _modules(
    rows: tuple[tuple[str, ...], ...], family: str, transformer_layers: tuple[int, ...]
) -> Iterator[tuple[str, str]]:
    column = FAMILIES.index(family)
    first = 1 if family == CVNETS else 0
    for row in rows:
        ours, theirs = row[0], row[column]
        for fields in _indices(ours, transformer_layers):
            yield ours.format(**fields), theirs.format(**_counted_from(first, fields), part="{part}")


def _indices(ours: str, transformer_layers: tuple[int, ...]) -> Iterator[dict[str, int]]:
    if "{early}" in ours:
        for stage, blocks in enumerate(STAGE_RESIDUALS[: TRANSFORMER_STAGES[0]]):
            yield from ({"early": stage, "b": block} for block in range(blocks))
    elif "{late}" in ours:
        for stage, depth in zip(TRANSFORMER_STAGES, transformer_layers, strict=True):
            layers = range(depth) if "{l}" in ours else range(1)
            yield from ({"late": stage, "l": layer, "depth": depth} for layer in layers)
    else:
        yield {}


def _counted_from(first: int, fields: dict[str, int]) -> dict[str, int]:
    return {key: value + first if key in ("early", "late") else value for key, value in fields.items()}

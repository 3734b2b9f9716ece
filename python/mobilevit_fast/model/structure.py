"""Whether a module tree computes exactly what the engine computes: the same layers, strides, epsilons,
activations.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from mobilevit_fast.config import STAGE_STRIDES, ModelConfig
from mobilevit_fast.weights import find_config, to_canonical
from mobilevit_fast.weights.names import parameter_names

PLAIN_TYPES = (
    *(nn.Conv2d, nn.BatchNorm2d, nn.LayerNorm, nn.Linear, nn.SiLU, nn.Dropout, nn.Identity),
    *(nn.ModuleList, nn.Sequential),
)
"""Layers of torch that the models are made of."""


class UnsupportedError(Exception):
    """The module computes something that the engine does not; the message says what."""


def require_types(root: nn.Module, types: Collection[type[nn.Module]], *, ignore: str = "") -> None:
    """Raises UnsupportedError where a module of `root` has none of `types`; below the name `ignore` any will
    do.
    """
    for name, module in root.named_modules():
        if type(module) not in types and not (ignore and f"{name}.".startswith(f"{ignore}.")):
            raise UnsupportedError(f"{name or 'the model'} is of type {type(module).__name__}")


def read_state(
    state: Mapping[str, Tensor], **attributes: Any
) -> tuple[ModelConfig, Mapping[str, np.ndarray]]:
    """Config and tensors, under this project's names, of a state dict of any family.

    Args:
        attributes: fields of the config that shapes do not tell, such as num_heads.

    Raises:
        UnsupportedError: it is no MobileViT v1, or one with more or fewer tensors.
    """
    try:
        config = find_config({name: tuple(tensor.shape) for name, tensor in state.items()})
        config = replace(config, **attributes)
        return config, to_canonical(state, config, source="the model")
    except ValueError as error:
        raise UnsupportedError(str(error)) from error


def require_equal(name: str, what: str, found: object, expected: object) -> None:
    """Raises UnsupportedError where a module's setting is another than that of the model's kind."""
    if found != expected:
        raise UnsupportedError(f"{name} has {what} {found}, not {expected}")


def require_silu(name: str, activation: object, *, expected: bool = True, types: tuple = (nn.SiLU,)) -> None:
    """Raises UnsupportedError where SiLU is missing, another or too much.

    Args:
        activation: the layer's; None or Identity stand for none.
        types: those that compute it.
    """
    if not isinstance(activation, types if expected else (type(None), nn.Identity)):
        raise UnsupportedError(
            f"{name} has the activation {activation}, not {'SiLU' if expected else 'none'}"
        )


def require_geometry(root: nn.Module, family: str, config: ModelConfig, *, prefixed: bool) -> None:
    """Raises UnsupportedError where strides, paddings, dilations or epsilons differ from those of `config`.

    Args:
        family: whose names the modules have, one of `weights.names.FAMILIES`.
        prefixed: as for `parameter_names`.
    """
    names = parameter_names(family, config.transformer_layers, prefixed=prefixed)
    for ours, (theirs, *_) in names.items():
        path = theirs.removesuffix(".weight")
        if ours.endswith((".conv.weight", ".embed.weight")):
            _require_convolution(path, root.get_submodule(path), _stride(ours))
    for name, module in root.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            _require_norm(name, module, config.batch_norm_eps)
            if not (module.affine and module.track_running_stats):
                raise UnsupportedError(f"{name} has no parameters or no running statistics")
        elif isinstance(module, nn.LayerNorm):
            _require_norm(name, module, config.layer_norm_eps)


def _stride(ours: str) -> int:
    if ours.startswith("stem."):
        return 2
    parts = ours.split(".")
    return STAGE_STRIDES[int(parts[1])] if parts[0] == "stages" and parts[2:4] == ["0", "depthwise"] else 1


def _require_convolution(path: str, conv: nn.Module, stride: int) -> None:
    size = conv.kernel_size[0]
    found = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.padding_mode, conv.bias)
    expected = ((size, size), (stride, stride), (size // 2, size // 2), (1, 1), "zeros", None)
    if found != expected:
        raise UnsupportedError(f"{path} is {conv}")


def _require_norm(name: str, norm: nn.BatchNorm2d | nn.LayerNorm, eps: float) -> None:
    if norm.eps != eps:
        raise UnsupportedError(f"{name} has epsilon {norm.eps}, not {eps} as the others")

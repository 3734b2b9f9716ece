"""State dicts of transformers, timm and ml-cvnets to our names, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilevit_fast.config import ModelConfig
from mobilevit_fast.weights.names import TIMM, TRANSFORMERS, find_family, parameter_names
from mobilevit_fast.weights.shapes import Shape, infer_config, parameter_shapes

_COUNTER = "num_batches_tracked"
_NAMED_IN_ERRORS = 5


def to_canonical(
    state: Mapping[str, Any], config: ModelConfig | None = None, *, source: str = "the state dict"
) -> dict[str, np.ndarray]:
    """Rename a checkpoint of any known family to our names.

    Args:
        state: name -> numpy array or torch tensor, float16, bfloat16 (torch only), float32 or float64.
        config: the variant that the checkpoint must fit; read from the shapes if None.
        source: what errors call the checkpoint.

    Returns:
        our name -> float32 array, which may share memory with the tensor in `state`. The classifier is left
        out where the checkpoint has none (a backbone). BatchNorm's batch counters are dropped.

    Raises:
        ValueError: an unknown family, or tensors that are missing, unexpected, misshapen or not floating
            point; each is named as the checkpoint names it.
    """
    state = {name: tensor for name, tensor in state.items() if not name.endswith(_COUNTER)}
    given = {name: tuple(tensor.shape) for name, tensor in state.items()}
    try:
        family, prefixed = find_family(given)
    except ValueError as error:
        raise ValueError(f"{source} is {error}") from None
    config = config or find_config(given)
    names = parameter_names(family, config.transformer_layers, prefixed=prefixed)
    shapes = parameter_shapes(config)
    expected = {
        theirs: (shapes[ours][0] // len(group), *shapes[ours][1:])
        for ours, group in names.items()
        for theirs in group
    }
    classifier = {*names["classifier.weight"], *names["classifier.bias"]}
    if not classifier & given.keys():
        for name in classifier:
            del expected[name]
    _check_fit(expected, given, f"{source} ({family} names) does not fit {config.name}")
    tensors = {}
    for ours, group in names.items():
        if group[0] in expected:
            parts = [_as_float32(name, state[name], source) for name in group]
            tensors[ours] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return tensors


def find_config(shapes: Mapping[str, Shape]) -> ModelConfig:
    """The variant that a checkpoint of any known family spells out, from its names and their shapes.

    Raises:
        ValueError: the names belong to no known family.
    """
    family, prefixed = find_family(shapes)
    ours: dict[str, Shape] = {}
    for name, group in parameter_names(family, ModelConfig.transformer_layers, prefixed=prefixed).items():
        if group[0] in shapes:
            rows, *rest = shapes[group[0]] or (0,)
            ours[name] = (rows * len(group), *rest)
    return infer_config(ours)


def to_transformers(tensors: Mapping[str, np.ndarray], config: ModelConfig) -> dict[str, np.ndarray]:
    """The state dict of transformers' MobileViTForImageClassification, batch counters (int64) included."""
    return _rename(tensors, config, TRANSFORMERS)


def to_timm(tensors: Mapping[str, np.ndarray], config: ModelConfig) -> dict[str, np.ndarray]:
    """The state dict of timm's `mobilevit_*`, batch counters (int64) included."""
    return _rename(tensors, config, TIMM)


def _rename(tensors: Mapping[str, np.ndarray], config: ModelConfig, family: str) -> dict[str, np.ndarray]:
    state: dict[str, np.ndarray] = {}
    for ours, group in parameter_names(family, config.transformer_layers).items():
        for name, part in zip(group, np.split(tensors[ours], len(group)), strict=True):
            state[name] = np.ascontiguousarray(part)
            if name.endswith(".running_var"):
                state[f"{name.removesuffix('running_var')}{_COUNTER}"] = np.zeros((), np.int64)
    return state


def _check_fit(expected: Mapping[str, Shape], given: Mapping[str, Shape], problem: str) -> None:
    missing = [f"{name} {list(shape)}" for name, shape in expected.items() if name not in given]
    unexpected = [f"{name} {list(shape)}" for name, shape in given.items() if name not in expected]
    misshapen = [
        f"{name} is {list(given[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in given and given[name] != shape
    ]
    if not (missing or unexpected or misshapen):
        return
    for kind, tensors in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)):
        if tensors:
            rest = len(tensors) - _NAMED_IN_ERRORS
            more = f" and {rest} more" if rest > 0 else ""
            problem += f"; {kind}: {', '.join(tensors[:_NAMED_IN_ERRORS])}{more}"
    if any("segmentation_head" in name or "aspp" in name for name in unexpected):
        problem += "; this is a segmentation model, and only classifiers are supported"
    raise ValueError(problem)


def _as_float32(name: str, tensor: Any, source: str) -> np.ndarray:
    # A torch tensor, known by its method so that torch need not be installed.
    if hasattr(tensor, "detach"):
        if tensor.device.type == "meta":
            raise ValueError(
                f"tensor {name} of {source} is on the meta device, without values: load them first"
            )
        floating = tensor.is_floating_point()
        array = tensor.detach().cpu().float().numpy() if floating else None
    else:
        array = np.asarray(tensor)
        floating = array.dtype.kind == "f"
    if not floating or array is None:
        raise ValueError(f"tensor {name} of {source} is {tensor.dtype}, expected floating point")
    return array.astype(np.float32, copy=False)

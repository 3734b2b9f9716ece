"""A model in export format "native": its plan, ready for the engine, and the file that holds it.

It is a safetensors file whose metadata describes the model as a checkpoint's does, with an entry "native":

    {"precision": "fp32", "input_size": [256, 256], "plan": {...}}

The plan is what `lower` made, names of the file's tensors in place of arrays. Float tensors are stored in 16
bits where that changes none of their numbers. The C library reads the same file: csrc/model_file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mobilevit_fast.config import ModelConfig
from mobilevit_fast.image.preprocessing import Preprocessing
from mobilevit_fast.weights.labels import check_labels, labels_from_list
from mobilevit_fast.weights.quantized import narrow
from mobilevit_fast.weights.safetensors_file import METADATA_KEY, write_safetensors

PRECISIONS = ("fp32", "bf16", "fp16", "int8", "mixed")


@dataclass(frozen=True, eq=False)
class NativeModel:
    """A classifier lowered for one precision.

    Attributes:
        config: the variant.
        plan: as `lower` returns it, with logits as its one output.
        precision: one of `PRECISIONS`, what the plan computes in.
        preprocessing, labels, source: as of `Checkpoint`.

    Raises:
        ValueError: an unknown precision, a plan without steps or without one output, or one whose output has
            not a channel for each label.
    """

    config: ModelConfig
    plan: dict[str, Any]
    precision: str
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        steps = self.plan.get("steps")
        if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
            raise ValueError("the plan has no list of steps")
        check_labels(self.labels, _output_channels(self.plan), self.source)

    def reversed_plan(self) -> dict[str, Any]:
        """The plan for images whose channels come in the opposite order.

        Raises:
            ValueError: the plan does not begin with a convolution.
        """
        try:
            first, *others = self.plan["steps"]
            weights = first["conv_weights"]
            turned = np.ascontiguousarray(weights["weight"][..., ::-1])
        except (KeyError, IndexError, TypeError, ValueError):
            raise ValueError(f"{self.source}: the plan does not begin with a convolution's weights") from None
        return self.plan | {"steps": [first | {"conv_weights": weights | {"weight": turned}}, *others]}


def save_native(path: str | os.PathLike, model: NativeModel, input_size: tuple[int, int]) -> None:
    """Write one file, which `Session` and the C library run.

    Args:
        path: the file; it appears or changes only when all is written.
        input_size: (height, width) of the images that the model is made for.

    Raises:
        FileNotFoundError: the folder of `path` does not exist.
        ValueError: steps with weights that share a name.
    """
    tensors: dict[str, np.ndarray] = {}

    def store(name: str, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        if name in tensors:
            raise ValueError(f"two steps of the plan have the name in {name!r}")
        tensors[name] = narrow(value) if value.dtype == np.float32 else value
        return name

    content = {
        "config": asdict(model.config),
        "preprocessing": model.preprocessing.to_dict(),
        "labels": model.labels,
        "native": {
            "precision": model.precision,
            "input_size": input_size,
            "plan": _rebuilt_steps(model.plan, store),
        },
    }
    write_safetensors(path, tensors, {METADATA_KEY: json.dumps(content, separators=(",", ":"))})


def is_native(content: Mapping[str, Any]) -> bool:
    """Whether the JSON of a file's metadata describes a native model."""
    return "native" in content


def from_file(state: Mapping[str, np.ndarray], content: Mapping[str, Any], source: str) -> NativeModel:
    """The model in the tensors and the JSON of a file that `save_native` wrote.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: the content is not such a model.
    """
    unused = set(state)

    def load(name: str, value: Any) -> Any:
        # A name can stand for nothing else: every other string in a plan is one of a few words.
        if not isinstance(value, str) or not name.endswith(_ARRAYS):
            return value
        if value not in state:
            raise ValueError(f"{name} names tensor {value!r}, which the file does not have")
        unused.discard(value)
        tensor = state[value]
        return tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor

    plan = _rebuilt_steps(content["native"]["plan"], load)
    if unused:
        raise ValueError(f"unexpected tensor {min(unused)!r}")
    model = NativeModel(
        config=ModelConfig(**content["config"]),
        plan=plan,
        precision=content["native"]["precision"],
        preprocessing=Preprocessing.from_dict(content["preprocessing"]),
        labels=labels_from_list(content["labels"]),
        source=source,
    )
    check_labels(model.labels, model.config.num_classes, source)
    return model


_ARRAYS = tuple(f".{key}" for key in ("weight", "bias", "multiplier", "offset", "table", "gamma", "beta"))
"""Endings of the names of arrays in a plan."""


def _output_channels(plan: dict[str, Any]) -> int:
    """Numbers in an answer of the plan."""
    try:
        [output] = plan["outputs"]
        return plan["tensors"][output]["channels"]
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueError("the plan does not have one tensor with channels as its output") from None


def _rebuilt_steps(plan: dict[str, Any], change: Callable[[str, Any], Any]) -> dict[str, Any]:
    """The plan with each leaf of its steps as `change` makes it; names begin with the step's."""
    return plan | {"steps": [_rebuilt(step, change, str(step["name"])) for step in plan["steps"]]}


def _rebuilt(value: Any, change: Callable[[str, Any], Any], name: str) -> Any:
    """`value` with each of its leaves as `change` makes it of its name and itself."""
    if isinstance(value, dict):
        return {key: _rebuilt(item, change, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rebuilt(item, change, f"{name}.{index}") for index, item in enumerate(value)]
    return change(name, value)

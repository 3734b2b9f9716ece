"""Class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

_IMAGENET_1K = Path(__file__).resolve().parent.parent / "data" / "imagenet_1k.txt"


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The 1000 class names of ImageNet-1k, in the order of its checkpoints."""
    return tuple(_IMAGENET_1K.read_text(encoding="utf-8").splitlines())


def label_lines(labels: Sequence[str]) -> str:
    """A line for each label, for files in which a label's number is that of its line."""
    return "".join(f"{' '.join(label.splitlines())}\n" for label in labels)


def numbered_labels(num_classes: int) -> tuple[str, ...]:
    """LABEL_0, LABEL_1, ...: what transformers calls classes without a name."""
    return tuple(f"LABEL_{index}" for index in range(num_classes))


def labels_from_transformers(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names in `id2label` of a config.json; None where it has none.

    Raises:
        ValueError: `id2label` is not a map from 0, 1, ... to names.
    """
    id2label = config.get("id2label")
    if id2label is None:
        return None
    numbers = {str(index): index for index in range(len(id2label))} if isinstance(id2label, Mapping) else {}
    if not numbers or numbers.keys() != id2label.keys():
        raise ValueError(f"id2label must map 0, 1, ... to names, got {_start(id2label)}")
    return tuple(str(id2label[key]) for key in numbers)


def labels_from_timm(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names in `label_names` of timm's config.json, or their descriptions; None where it has none.

    Raises:
        ValueError: `label_names` is not a list.
    """
    pretrained = config.get("pretrained_cfg") or {}
    names = config.get("label_names") or pretrained.get("label_names") or pretrained.get("labels")
    if names is None:
        return None
    if not isinstance(names, list):
        raise ValueError(f"label_names must be a list, got {_start(names)}")
    descriptions = config.get("label_descriptions") or pretrained.get("label_descriptions") or {}
    if not isinstance(descriptions, Mapping):
        descriptions = {}
    return tuple(str(descriptions.get(name, name)) for name in names)


def labels_from_list(labels: Any) -> tuple[str, ...]:
    """The names in the metadata of a file of this project.

    Raises:
        ValueError: `labels` is not a list.
    """
    if not isinstance(labels, list):
        raise ValueError(f"labels must be a list, got {_start(labels)}")
    return tuple(str(label) for label in labels)


def check_labels(labels: Sequence[str], classes: int, source: str) -> None:
    """Raises ValueError, naming the source, unless each class has a label and each label a class."""
    if len(labels) != classes:
        raise ValueError(f"{source} has {len(labels)} labels for {classes} classes")


def _start(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."

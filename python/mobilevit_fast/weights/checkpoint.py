"""Reading a checkpoint of any family, and the one-file format of this project."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mobilevit_fast.arguments import check_count
from mobilevit_fast.config import ModelConfig
from mobilevit_fast.image.configs import from_huggingface, from_timm
from mobilevit_fast.image.preprocessing import Preprocessing
from mobilevit_fast.weights import native
from mobilevit_fast.weights.configs import config_from_transformers
from mobilevit_fast.weights.convert import find_config, to_canonical
from mobilevit_fast.weights.labels import (
    check_labels,
    imagenet_labels,
    labels_from_list,
    labels_from_timm,
    labels_from_transformers,
    numbered_labels,
)
from mobilevit_fast.weights.names import CVNETS, OURS, TIMM, TRANSFORMERS, find_family
from mobilevit_fast.weights.pickled import read_pickled
from mobilevit_fast.weights.quantized import QuantizedCheckpoint, from_file, is_quantized
from mobilevit_fast.weights.safetensors_file import METADATA_KEY, read_safetensors, write_safetensors
from mobilevit_fast.weights.sources import PICKLED_SUFFIXES, SourceFiles, find_source

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained classifier, whatever it was read from.

    Attributes:
        config: the variant.
        tensors: our name -> float32 array, as `parameter_shapes(config)` lists them.
        preprocessing: how its images are prepared.
        labels: one name a class.
        source: what it was read from, for people.
        family: whose format it was in: mobilevit_fast, transformers, timm or cvnets.
    """

    config: ModelConfig
    tensors: dict[str, np.ndarray]
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    source: str
    family: str = OURS

    def __post_init__(self) -> None:
        check_labels(self.labels, self.config.num_classes, self.source)


def load_checkpoint(source: str | os.PathLike, *, num_classes: int | None = None) -> Checkpoint:
    """Read a checkpoint; torch is needed for pickled files (.bin, .pt, .pth) only.

    Args:
        source: a name of `embedded_names`, a folder of transformers or timm, a weights file (.safetensors, or
            .bin/.pt/.pth of torch.save), or a hub id such as "apple/mobilevit-small".
        num_classes: give the checkpoint a new, untrained classifier of so many classes, unless it has as
            many; needed where it has no classifier at all. It is logged as a warning. None keeps its own.

    Raises:
        FileNotFoundError: no such file, folder or hub id.
        ValueError: a name that means nothing, a damaged or hostile file, tensors that do not fit (each is
            named), or no classifier and no `num_classes`.
        ImportError: a pickled file, and torch is not installed.
    """
    if num_classes is not None:
        num_classes = check_count("num_classes", num_classes)
    checkpoint = load_model(source)
    if isinstance(checkpoint, QuantizedCheckpoint):
        raise ValueError(
            f"{checkpoint.source!r} is quantised; this needs the float checkpoint that it was made from"
        )
    return _with_classifier(checkpoint, num_classes)


def load_classifier(source: str | os.PathLike) -> Checkpoint | QuantizedCheckpoint:
    """What `load_checkpoint` reads, or a quantised model.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `load_checkpoint` does.
    """
    checkpoint = load_model(source)
    return checkpoint if isinstance(checkpoint, QuantizedCheckpoint) else _with_classifier(checkpoint, None)


def _with_classifier(checkpoint: Checkpoint, num_classes: int | None) -> Checkpoint:
    if "classifier.weight" in checkpoint.tensors and num_classes in (None, checkpoint.config.num_classes):
        return checkpoint
    if num_classes is None:
        raise ValueError(
            f"{checkpoint.source!r} is a backbone without classifier; pass num_classes to give it a new one"
        )
    _LOGGER.warning("%s gets an untrained classifier of %d classes", checkpoint.source, num_classes)
    return with_new_classifier(checkpoint, num_classes)


def load_model(source: str | os.PathLike) -> Checkpoint | QuantizedCheckpoint:
    """What `load_checkpoint` reads, or a quantised model; the classifier may be missing.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `load_checkpoint` does.
    """
    model = _load(source)
    if isinstance(model, native.NativeModel):
        raise ValueError(
            f"{model.source!r} is an export in format native, made to run; this needs the checkpoint that it "
            "was made from"
        )
    return model


def load_runnable(source: str | os.PathLike) -> Checkpoint | QuantizedCheckpoint | native.NativeModel:
    """What `load_classifier` reads, or an export in format native.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `load_checkpoint` does.
    """
    model = _load(source)
    return _with_classifier(model, None) if isinstance(model, Checkpoint) else model


def _load(source: str | os.PathLike) -> Checkpoint | QuantizedCheckpoint | native.NativeModel:
    files = find_source(source)
    state, metadata = _read_weights(files)
    if METADATA_KEY in metadata:
        return _from_metadata(state, metadata[METADATA_KEY], files.name)
    return _from_state(state, files)


def save_checkpoint(path: str | os.PathLike, checkpoint: Checkpoint, *, dtype: str = "float16") -> None:
    """Write one safetensors file with everything in it, which `load_checkpoint` reads without torch.

    Args:
        path: the file; it appears or changes only when all is written.
        checkpoint: what to write.
        dtype: "float16" or "float32". A tensor with values beyond float16 is kept in float32.

    Raises:
        ValueError: another dtype.
        FileNotFoundError: the folder of `path` does not exist.
    """
    if dtype not in ("float16", "float32"):
        raise ValueError(f"dtype must be float16 or float32, got {dtype!r}")
    content = {
        "config": asdict(checkpoint.config),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "labels": checkpoint.labels,
    }
    limit = np.finfo(dtype).max
    tensors = {
        name: tensor.astype(dtype) if np.abs(tensor).max() <= limit else tensor
        for name, tensor in checkpoint.tensors.items()
    }
    write_safetensors(path, tensors, {METADATA_KEY: json.dumps(content)})


def with_new_classifier(checkpoint: Checkpoint, num_classes: int) -> Checkpoint:
    """The checkpoint with an untrained classifier: weights of deviation 0.02, bias 0, always the same."""
    config = replace(checkpoint.config, num_classes=num_classes)
    weight = np.random.default_rng(0).normal(0, 0.02, (num_classes, config.head_channels))
    tensors = checkpoint.tensors | {
        "classifier.weight": weight.astype(np.float32),
        "classifier.bias": np.zeros(num_classes, np.float32),
    }
    return replace(checkpoint, config=config, tensors=tensors, labels=numbered_labels(num_classes))


def _read_weights(files: SourceFiles) -> tuple[dict[str, Any], dict[str, str]]:
    state: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    for path in files.weights:
        if path.name.endswith(PICKLED_SUFFIXES):
            tensors = read_pickled(path)
        else:
            tensors, metadata = read_safetensors(path)
        repeated = state.keys() & tensors.keys()
        if repeated:
            raise ValueError(f"{str(path)!r} repeats tensor {min(repeated)} of another shard")
        state.update(tensors)
    return state, metadata


def _from_metadata(
    state: Mapping[str, np.ndarray], text: str, source: str
) -> Checkpoint | QuantizedCheckpoint | native.NativeModel:
    with _blaming(f"{METADATA_KEY} metadata of {source!r}"):
        content = json.loads(text)
        missing = {"config", "preprocessing", "labels"} - content.keys()
        if missing:
            raise ValueError(f"{min(missing)} is missing")
        if native.is_native(content):
            return native.from_file(state, content, source)
        if is_quantized(content):
            return from_file(state, content, source)
        config = ModelConfig(**content["config"])
        preprocessing = Preprocessing.from_dict(content["preprocessing"])
        labels = labels_from_list(content["labels"])
    return Checkpoint(config, to_canonical(state, config, source=repr(source)), preprocessing, labels, source)


def _from_state(state: Mapping[str, Any], files: SourceFiles) -> Checkpoint:
    source = repr(files.name)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    with _blaming(source):
        family, _ = find_family(shapes)
        config, labels = find_config(shapes), None
    with _blaming(f"config.json of {source}"):
        if family == TRANSFORMERS and files.config:
            labels = labels_from_transformers(files.config)
            config = config_from_transformers(files.config, len(labels) if labels else config.num_classes)
        if family == TIMM:
            labels = labels_from_timm(files.config)
            preprocessing = from_timm(files.config.get("pretrained_cfg") or files.config)
        else:
            size = config.image_size
            order = "RGB" if family == OURS else "BGR"
            preprocessing = Preprocessing(
                shortest_edge=round(size * 9 / 8), crop_size=(size, size), channel_order=order
            )
    if files.preprocessor:
        with _blaming(f"preprocessor_config.json of {source}"):
            preprocessing = from_huggingface(files.preprocessor)
    if family == OURS:
        warnings.warn(
            f"{source} says nothing of its model's preprocessing, labels and settings, and gets those of a "
            "new model (RGB, numbered classes); save_pretrained() writes a folder that says all",
            stacklevel=2,
        )
    if labels is None:
        imagenet = family in (TIMM, CVNETS) and config.num_classes == len(imagenet_labels())
        labels = imagenet_labels() if imagenet else numbered_labels(config.num_classes)
    tensors = to_canonical(state, config, source=source)
    return Checkpoint(config, tensors, preprocessing, labels, files.name, family)


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Put the name of the file before what is wrong with it."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{what}: {error} is missing") from error
    except (TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{what}: {error}") from error

"""From what the user names to images with labels, and to a model that has their classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mobilevit_fast.config import MODELS, get_config
from mobilevit_fast.evaluation import Columns, Dataset, Splits, hold_out, load_dataset, load_splits
from mobilevit_fast.evaluation.bad_images import describe, find_bad_images, without
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.image.configs import to_huggingface
from mobilevit_fast.model import MobileViT, from_checkpoint
from mobilevit_fast.model.mobilevit import default_preprocessing
from mobilevit_fast.progress import Progress
from mobilevit_fast.train.recipe import Recipe
from mobilevit_fast.weights import Checkpoint, QuantizedCheckpoint, load_model, with_new_classifier
from mobilevit_fast.weights.configs import config_to_transformers
from mobilevit_fast.weights.labels import numbered_labels


@dataclass(frozen=True, eq=False)
class Images:
    """Images to train and to measure on, of the same classes, all of which can be read.

    Attributes:
        names: of the classes.
        notes: what was done to the data, one sentence each.
    """

    training: Dataset
    validation: Dataset
    names: tuple[str, ...]
    notes: tuple[str, ...]


def prepare_images(
    data: Any,
    recipe: Recipe,
    *,
    validation: Any = None,
    columns: Columns | None = None,
    progress: Progress | None = None,
) -> Images:
    """Read, check and where needed divide a data set.

    Args:
        data: as `load_splits` takes it.
        validation: labelled images to measure on, as `load_dataset` takes them, instead of the data's own.

    Raises:
        FileNotFoundError, ValueError, ImportError: no data, fewer than two classes, labels that are no
            classes, images that cannot be read where the recipe refuses them.
    """
    splits = load_splits(data, columns)
    if validation is not None:
        splits = Splits(splits.training, load_dataset(validation, columns))
    notes: list[str] = []
    training = _readable(splits.training, recipe, notes, progress)
    names = _class_names(training)
    measured = splits.validation
    if measured is None:
        parts = hold_out(training, recipe.hold_out, recipe.seed)
        training, measured = parts.training, parts.validation
        notes.append(f"{len(measured.images)} images of {training.source} were set aside to measure on")
    else:
        measured = _readable(measured, recipe, notes, progress)
        measured = replace(measured, labels=measured.labels_for(names), names=names)
    empty = [names[label] for label in range(len(names)) if label not in set(training.labels.tolist())]
    if empty:
        notes.append(f"no images to train on of: {', '.join(empty[:10])}{', ...' if empty[10:] else ''}")
    return Images(training, measured, names, tuple(notes))


def prepare_model(
    source: str | os.PathLike, names: Sequence[str], recipe: Recipe
) -> tuple[MobileViT, list[int], tuple[str, ...]]:
    """The model to start from, with a classifier for these classes and its own preprocessing.

    Args:
        source: as `load_checkpoint` takes it; or with `recipe.from_scratch` the name of a variant.

    Returns:
        the model, whose classes may be in another order than `names`; the model's number of each class of
        `names`; notes.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `load_checkpoint` does, and for what a folder of
            transformers cannot hold.
    """
    torch.manual_seed(recipe.seed)
    if recipe.from_scratch and os.fspath(source) in MODELS:
        config = get_config(os.fspath(source), num_classes=len(names))
        model = MobileViT(config, labels=names, preprocessing=default_preprocessing(config.image_size))
        order, notes = list(range(len(names))), ("random weights",)
    else:
        checkpoint = load_model(source)
        if isinstance(checkpoint, QuantizedCheckpoint):
            raise ValueError(
                f"{checkpoint.source!r} is quantised; fine-tuning starts from the float checkpoint that it "
                "was made from"
            )
        checkpoint, order, notes = _with_classes(checkpoint, names)
        model = from_checkpoint(checkpoint)
        if recipe.from_scratch:
            model = MobileViT(
                checkpoint.config, labels=checkpoint.labels, preprocessing=checkpoint.preprocessing
            )
            notes = (*notes, "random weights")
    rule = _at_size(model.preprocessing, model.config.image_size, recipe.size)
    assert rule.crop_size is not None
    config = replace(model.config.plain(), image_size=min(rule.crop_size))
    sized = MobileViT(config, labels=model.labels, preprocessing=rule)
    sized.load_state_dict(model.state_dict())
    # What cannot be written in the end should not be trained.
    config_to_transformers(config, sized.labels)
    to_huggingface(rule)
    return sized, order, notes


def _with_classes(
    checkpoint: Checkpoint, names: Sequence[str]
) -> tuple[Checkpoint, list[int], tuple[str, ...]]:
    head = checkpoint.tensors.get("classifier.weight")
    known = Dataset([b""] * len(names), np.arange(len(names)), tuple(names), "the data")
    if head is not None and len(head) == len(names):
        try:
            order = known.labels_for(checkpoint.labels).tolist()
        except ValueError:
            order = []
        if sorted(order) == list(range(len(names))) and set(map(str.lower, names)) == set(
            map(str.lower, checkpoint.labels)
        ):
            return checkpoint, order, (f"the classifier of {len(names)} classes is kept",)
    old = "no classifier" if head is None else f"the classifier of {len(head)} classes"
    fresh = replace(with_new_classifier(checkpoint, len(names)), labels=tuple(names))
    note = f"{old} of {checkpoint.source} was replaced by a new one of {len(names)} classes"
    return fresh, list(range(len(names))), (note,)


def _at_size(rule: Preprocessing, image_size: int, size: int | None) -> Preprocessing:
    if rule.crop_size is None:
        rule = replace(rule, crop_size=(image_size, image_size))
    return rule if size is None or rule.crop_size == (size, size) else rule.at_size(size)


def _readable(data: Dataset, recipe: Recipe, notes: list[str], progress: Progress | None) -> Dataset:
    bad = find_bad_images(data, progress=progress)
    if not bad:
        return data
    found = describe(bad, data)
    if recipe.bad_images == "refuse":
        raise ValueError(
            f"{found}; repair or remove them, or skip them with bad_images='skip' (--bad-images skip)"
        )
    notes.append(f"skipped: {found}")
    if len(bad) == len(data.images):
        raise ValueError(found)
    kept = without(data, bad)
    lost = sorted(set(data.labels.tolist()) - set(kept.labels.tolist()))
    if lost:
        name = data.names[lost[0]] if data.names else lost[0]
        raise ValueError(f"no image of class {name!r} can be read: {found}")
    return kept


def _class_names(data: Dataset) -> tuple[str, ...]:
    """Names of the classes. Raises ValueError for labels that are none, and for fewer than two classes."""
    low, high = int(data.labels.min()), int(data.labels.max())
    names = data.names or numbered_labels(max(high + 1, 1))
    outside = np.flatnonzero((data.labels < 0) | (data.labels >= len(names)))
    if len(outside):
        raise ValueError(
            f"{len(outside)} labels of {data.source} are outside 0 to {len(names) - 1}, the first "
            f"{data.labels[outside[0]]} at image {outside[0]}; labels must number the classes"
        )
    if low == high:
        raise ValueError(
            f"{data.source} has images of one class only, {names[low]!r}; "
            "there must be at least two to tell apart"
        )
    return names

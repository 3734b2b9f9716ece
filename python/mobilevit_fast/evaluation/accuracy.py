"""Top-1, top-5 and confusion matrix of a model on labelled images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mobilevit_fast.arguments import check_count
from mobilevit_fast.decode_ahead import decode_ahead
from mobilevit_fast.evaluation.dataset import Dataset, load_dataset
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.pictures import figure_class, save_picture

_WORKERS = 2
_MOST_NAMED = 40
"""Classes up to which a picture of the confusion matrix names them."""

Batches = Iterable[Any]


class ClassResult(NamedTuple):
    """How one class fared; a share of nothing is 0.

    Attributes:
        images: that have this label.
        precision: share of the answers with this class that are right.
        recall: share of the images with this label that are answered right.
        f1: harmonic mean of the two.
    """

    label: str
    images: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model answered.

    Attributes:
        top1, top5: shares of the images whose label is the first, or among the first five, of the answers.
        confusion: int64 [classes, classes]; row: the label, column: the first answer.
        labels: names of the classes.
        count: images.
    """

    top1: float
    top5: float
    confusion: np.ndarray
    labels: tuple[str, ...]
    count: int

    def per_class(self) -> list[ClassResult]:
        """One row a class, in order."""
        right = np.diag(self.confusion)
        answers, images = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        precision, recall = right / np.maximum(answers, 1), right / np.maximum(images, 1)
        f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
        columns = (images.tolist(), precision.tolist(), recall.tolist(), f1.tolist())
        return [ClassResult(*row) for row in zip(self.labels, *columns, strict=True)]

    def worst_confusions(self, count: int) -> list[tuple[str, str, int]]:
        """(label, other answer, images) of the most frequent mistakes, most frequent first."""
        mistakes = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
        places = zip(*np.unravel_index(order, mistakes.shape), strict=True)
        return [
            (self.labels[row], self.labels[column], int(mistakes[row, column]))
            for row, column in places
            if mistakes[row, column]
        ]

    def plot(self, path: str | os.PathLike | None = None) -> Any:
        """The confusion matrix as a picture: matplotlib's Figure, also written to `path` where given.

        Raises ImportError where matplotlib is not installed.
        """
        used = np.flatnonzero(self.confusion.any(axis=0) | self.confusion.any(axis=1))
        counts = self.confusion[np.ix_(used, used)]
        figure = figure_class()(figsize=(7, 6), layout="constrained")
        axes = figure.subplots()
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        figure.colorbar(
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1), label="share of the label's images"
        )
        if len(used) <= _MOST_NAMED:
            names = [self.labels[index] for index in used]
            axes.set_xticks(range(len(used)), names, rotation=90)
            axes.set_yticks(range(len(used)), names)
        axes.set(xlabel="answer", ylabel="label", title=f"top-1 {self.top1:.1%} of {self.count} images")
        if path is not None:
            save_picture(figure, path)
        return figure


ROUNDING = 1e-9
"""By more than it, shares of images differ that stand for different numbers of them."""


def evaluate(
    model: Any,
    dataset: str | os.PathLike | Dataset,
    *,
    limit: int | None = None,
    batch_size: int = 16,
    preprocessing: Preprocessing | None = None,
    labels: tuple[str, ...] | None = None,
    progress: Callable[[Iterable[Any], int, str], Iterable[Any]] | None = None,
) -> Evaluation:
    """Run a model on labelled images.

    Args:
        model: a `Session`, or a torch module of this project, transformers or timm, in eval mode, on any
            device and of any floating dtype.
        dataset: what `load_dataset` reads.
        limit: use so many images only, spread evenly over the data set.
        batch_size: images that run together.
        preprocessing, labels: None for the model's own.
        progress: wraps the batches, given their number and a title, to show how far they have come.

    Raises:
        FileNotFoundError, ValueError, TypeError: a data set, image or model that does not serve; named.
        FloatingPointError: logits that are not finite, which rank no class before another.
    """
    if isinstance(model, str | os.PathLike):
        raise TypeError(f"a model must be a Session or a torch module; give Session({os.fspath(model)!r})")
    preprocessing = preprocessing or getattr(model, "preprocessing", None)
    labels = labels or getattr(model, "labels", None)
    if preprocessing is None or labels is None:
        raise ValueError(
            f"a {type(model).__name__} does not say how to prepare images and what its classes are "
            "called: pass preprocessing and labels"
        )
    if limit is not None:
        limit = check_count("limit", limit)
    check_count("batch_size", batch_size)
    data = load_dataset(dataset)
    data = data.head(limit) if limit else data
    wanted = data.labels_for(labels)
    batches: Batches = decode_ahead(list(data.images), preprocessing, batch_size, _WORKERS)
    if progress is not None:
        batches = progress(batches, -(-len(wanted) // batch_size), "evaluate")
    predict = _predictor(model)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    done = in_top5 = 0
    for batch in batches:
        for error in batch.errors:
            if error is not None:
                raise error
        logits = predict(batch.pixels)
        _check_finite(logits, done)
        truth = wanted[done : done + len(logits)]
        best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
        np.add.at(confusion, (truth, best[:, 0]), 1)
        in_top5 += int((best == truth[:, None]).any(axis=1).sum())
        done += len(logits)
    return Evaluation(float(np.trace(confusion)) / done, in_top5 / done, confusion, tuple(labels), done)


def _check_finite(logits: np.ndarray, done: int) -> None:
    """Raises FloatingPointError for logits [N, classes], after `done` images, that are not finite."""
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        raise FloatingPointError(
            f"the logits of {len(bad)} of the first {done + len(logits)} images are not finite, the first of "
            f"image {done + bad[0]}: the model has weights that are not finite, or values too large for its "
            "precision; try fp32, or another checkpoint"
        )


def _predictor(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """float32 images [N, 3, H, W] to logits [N, classes]."""
    if hasattr(model, "run"):
        return model.run
    if not callable(model):
        raise TypeError(f"a model must be a Session or a torch module, got {type(model).__name__}")
    import torch

    parameters = getattr(model, "parameters", tuple)()
    like = next((weight for weight in parameters if weight.is_floating_point()), torch.empty(0))

    def predict(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            answer = model(torch.from_numpy(pixels).to(like))
        return getattr(answer, "logits", answer).float().cpu().numpy()

    return predict

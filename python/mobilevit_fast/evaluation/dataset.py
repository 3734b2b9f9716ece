"""Labelled images from a folder of class folders or from a parquet file of the datasets library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilevit_fast.image import ImageSource, find_images


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and what is on them.

    Attributes:
        images: as `load_image` takes them; read when they are needed.
        labels: int64 [images], indices into `names`.
        names: of the classes; None where only numbers are known.
        source: what it was read from, for people.

    Raises:
        ValueError: no image, or not one label for each.
    """

    images: Sequence[ImageSource]
    labels: np.ndarray
    names: tuple[str, ...] | None
    source: str

    def __post_init__(self) -> None:
        if not len(self.images):
            raise ValueError(f"{self.source} has no images")
        if self.labels.shape != (len(self.images),):
            raise ValueError(
                f"{self.source} has {len(self.images)} images and labels {list(self.labels.shape)}"
            )

    def labels_for(self, names: Sequence[str]) -> np.ndarray:
        """int64 [images]: the labels as indices into a model's class names.

        Classes are matched by name; a name that the model does not have so, whatever its case and whether
        words are joined by spaces, "_" or "-". Where no name is known to the model, they are matched by
        number, if there are as many.

        Raises:
            ValueError: classes that the model does not have, or that could be several of its own.
        """
        if self.names is None:
            if self.labels.min() < 0 or self.labels.max() >= len(names):
                raise ValueError(
                    f"{self.source} has labels {self.labels.min()} to {self.labels.max()}; "
                    f"the model has {len(names)} classes"
                )
            return self.labels
        if self.names == tuple(names):
            return self.labels
        known = _ClassIndex(names)
        matches = [known.find(name) for name in self.names]
        for name, found in zip(self.names, matches, strict=True):
            if len(found) > 1:
                raise ValueError(
                    f"{self.source} has the class {name!r}, which could be each of the model's classes "
                    f"{', '.join(f'{number} ({names[number]!r})' for number in found)}; "
                    "give it the one's exact name"
                )
        unknown = [name for name, found in zip(self.names, matches, strict=True) if not found]
        if not unknown:
            return np.array([found[0] for found in matches], np.int64)[self.labels]
        if len(unknown) == len(self.names) == len(names):
            return self.labels
        raise ValueError(
            f"{self.source} has the class {unknown[0]!r}, which is none of the model's {len(names)}: "
            f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        )

    def head(self, count: int) -> Dataset:
        """`count` images, spread evenly over the whole; itself where it has no more."""
        return self if count >= len(self.images) else self.subset(spread(len(self.images), count))

    def subset(self, indices: np.ndarray) -> Dataset:
        """The images with these indices, in their order."""
        return Dataset([self.images[i] for i in indices], self.labels[indices], self.names, self.source)


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table to read; None to find them by their kind or usual name."""

    image: str | None = None
    label: str | None = None


def load_dataset(source: str | os.PathLike | Dataset, columns: Columns | None = None) -> Dataset:
    """Read a data set; images are decoded later.

    Args:
        source: a folder with one folder of images for each class; a parquet file with the columns `image`
            (encoded bytes) and `label` (a ClassLabel of the datasets library, or numbers); or a `Dataset`.
        columns: which columns of a file to read.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a file or folder of another kind, or without images.
        ImportError: a parquet file, and pyarrow is not installed.
    """
    if isinstance(source, Dataset):
        return source
    path = Path(source)
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no data set {str(path)!r}")
    if path.suffix != ".parquet":
        raise ValueError(f"{str(path)!r} is neither a folder of class folders nor a parquet file")
    # Not at the top: this module is what tables are read into.
    from mobilevit_fast.evaluation.tables import read_tables

    return read_tables([path], columns)


def spread(total: int, count: int) -> np.ndarray:
    """`count` indices below `total`, evenly spaced; all of them where there are no more."""
    return np.arange(total) if count >= total else np.arange(count) * total // count


def _read_folder(folder: Path) -> Dataset:
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise ValueError(
            f"{str(folder)!r} must hold one folder of images for each class; it holds no folders"
        )
    images: list[Path] = []
    labels: list[int] = []
    for label, class_folder in enumerate(classes):
        found = find_images(class_folder)
        images += found
        labels += [label] * len(found)
    names = tuple(path.name for path in classes)
    return Dataset(images, np.array(labels, np.int64), names, repr(str(folder)))


class _ClassIndex:
    """Numbers of a model's classes by name, and by what remains of a name without case and joints."""

    def __init__(self, names: Sequence[str]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._plain: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            self._exact.setdefault(name, []).append(number)
            self._plain.setdefault(_plain(name), []).append(number)

    def find(self, name: str) -> list[int]:
        return self._exact.get(name) or self._plain.get(_plain(name), [])


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")

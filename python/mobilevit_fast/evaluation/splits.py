"""A data set to train on and one to measure on, from wherever they are."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_fast.evaluation.dataset import Columns, Dataset, load_dataset
from mobilevit_fast.evaluation.hub_data import SPLITS, TRAINING, VALIDATION, download_data, is_hub_id
from mobilevit_fast.evaluation.tables import SUFFIXES, from_table, read_tables


@dataclass(frozen=True, eq=False)
class Splits:
    """Images to train on, and images to measure on where the source has them."""

    training: Dataset
    validation: Dataset | None = None


def load_splits(source: Any, columns: Columns | None = None) -> Splits:
    """Read a data set with its splits.

    Args:
        source: a folder of class folders, or of splits ("train", "val", ...) each of which holds class
            folders; a parquet file, or a folder of parquet files named by their split; a folder of the
            datasets library's `save_to_disk`; a Dataset or DatasetDict of that library; the id of a data
            set on the hub; or a `Dataset` of this project.
        columns: which columns of a table to read.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `load_dataset` and `read_tables` do.
    """
    if isinstance(source, Splits):
        return source
    if isinstance(source, Mapping):
        return _choose({name: _from_library(part, columns) for name, part in source.items()}, "the mapping")
    if hasattr(source, "with_format"):
        return Splits(_from_library(source, columns))
    if isinstance(source, Dataset):
        return Splits(source)
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, columns)
    if path.is_file() and path.suffix in SUFFIXES:
        return Splits(read_tables([path], columns))
    if not path.exists() and is_hub_id(os.fspath(source)):
        return _from_folder(download_data(os.fspath(source)), columns)
    return Splits(load_dataset(path))


def hold_out(data: Dataset, share: float, seed: int) -> Splits:
    """Set a share of each class aside to measure on: at least one image of it, never all.

    Raises ValueError for a share outside 0 to 1, or a class of a single image.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share to hold out must be between 0 and 1, got {share!r}")
    random = np.random.default_rng(seed)
    held: list[int] = []
    for label in np.unique(data.labels):
        members = np.flatnonzero(data.labels == label)
        if len(members) < 2:
            name = data.names[label] if data.names else label
            raise ValueError(
                f"class {name!r} of {data.source} has a single image, so that none can be held out "
                "to measure on; add images, or name a data set to validate on"
            )
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held += random.permutation(members)[:count].tolist()
    chosen = np.zeros(len(data.images), bool)
    chosen[held] = True
    return Splits(data.subset(np.flatnonzero(~chosen)), data.subset(np.flatnonzero(chosen)))


def _from_folder(folder: Path, columns: Columns | None) -> Splits:
    if (folder / "dataset_dict.json").is_file():
        names = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        return _choose({name: _from_disk(folder / name, columns) for name in names}, repr(str(folder)))
    if (folder / "state.json").is_file():
        return Splits(_from_disk(folder, columns))
    tables = sorted(folder.rglob("*.parquet"))
    if tables:
        found: dict[str, list[Path]] = {}
        for table in tables:
            found.setdefault(_split_of(table.relative_to(folder)), []).append(table)
        return _choose(
            {name: read_tables(paths, columns, source=repr(str(folder))) for name, paths in found.items()},
            repr(str(folder)),
        )
    parts = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    if not any(name in parts for name in TRAINING):
        return Splits(load_dataset(folder))
    wanted = {name: path for name, path in parts.items() if name in SPLITS}
    return _choose({name: load_dataset(path) for name, path in wanted.items()}, repr(str(folder)))


def _from_disk(folder: Path, columns: Columns | None) -> Dataset:
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    files = [folder / file["filename"] for file in state["_data_files"]]
    return read_tables(files, columns, source=repr(str(folder)))


def _from_library(part: Any, columns: Columns | None) -> Dataset:
    if isinstance(part, Dataset):
        return part
    if not hasattr(part, "with_format"):
        raise TypeError(f"a split must be a Dataset, got {type(part).__name__}")
    return from_table(part.with_format("arrow")[:], part.features.to_dict(), columns, "the data set")


def _split_of(path: Path) -> str:
    """The split that a file's name, or else a folder above it, is called after; "train" if none is."""
    for part in reversed(path.with_suffix("").parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in SPLITS:
                return word
    return TRAINING[0]


def _choose(parts: Mapping[str, Dataset], source: str) -> Splits:
    training = next((parts[name] for name in TRAINING if name in parts), None)
    if training is None:
        raise ValueError(f"{source} has no split to train on, such as 'train'; it has {', '.join(parts)}")
    validation = next((parts[name] for name in VALIDATION if name in parts), None)
    if validation is not None and training.names and validation.names:
        labels = validation.labels_for(training.names)
        validation = replace(validation, labels=labels, names=training.names)
    return Splits(training, validation)

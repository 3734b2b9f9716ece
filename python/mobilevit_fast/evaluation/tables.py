"""Labelled images from parquet and Arrow files, as the datasets library writes them, without that library."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_fast.evaluation.dataset import Columns, Dataset
from mobilevit_fast.image import image_in_cell
from mobilevit_fast.parquet import import_parquet

SUFFIXES = (".parquet", ".arrow")

_IMAGES = ("image", "img")
_LABELS = ("label", "labels", "class", "fine_label")


def read_tables(paths: Sequence[Path], columns: Columns | None = None, *, source: str = "") -> Dataset:
    """The rows of one or more files, one after the other.

    Args:
        paths: .parquet files, or .arrow files of `save_to_disk`; all of the same columns. Paths of images in
            them are relative to the first one's folder.
        columns: which of them to read.
        source: what errors call the files; the first one's name if empty.

    Raises:
        ValueError: a file of another kind, missing columns, values that are no images or labels.
        ImportError: pyarrow is not installed.
    """
    pyarrow, _ = import_parquet()
    source = source or repr(str(paths[0]))
    tables = [_read(path) for path in paths]
    try:
        table = pyarrow.concat_tables(tables)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"the files of {source} have different columns: {error}") from error
    features = _features(tables[0].schema.metadata) or _features_beside(paths[0])
    return from_table(table, features, columns, source, paths[0].parent)


def from_table(
    table: Any,
    features: Mapping[str, Any],
    columns: Columns | None,
    source: str,
    folder: Path | None = None,
) -> Dataset:
    """The data set in a pyarrow table.

    Args:
        features: the datasets library's description of the columns; {} where there is none.
        columns, source: as `read_tables` takes them.
        folder: as `image_in_cell` takes it.

    Raises:
        ValueError: as `read_tables` does.
    """
    columns = columns or Columns()
    names = table.column_names
    image = _choose(columns.image, "Image", _IMAGES, "image", names, features, source)
    label = _choose(columns.label, "ClassLabel", _LABELS, "label", names, features, source)
    images = [
        _encoded(value, image, row, folder, source) for row, value in enumerate(table[image].to_pylist())
    ]
    labels = table[label].to_pylist()
    known = features.get(label, {}).get("names")
    if labels and isinstance(labels[0], str):
        known = sorted({name for name in labels if isinstance(name, str)})
        index = {name: number for number, name in enumerate(known)}
        labels = [index.get(name) for name in labels]
    for row, value in enumerate(labels):
        if type(value) is not int:
            raise ValueError(
                f"row {row} of {source} has the label {reprlib.repr(value)}; give each row a class"
            )
    class_names = None if known is None else tuple(str(name) for name in known)
    return Dataset(images, np.asarray(labels, np.int64), class_names, source)


def _read(path: Path) -> Any:
    pyarrow, parquet = import_parquet()
    from pyarrow import ipc

    try:
        if path.suffix == ".parquet":
            return parquet.read_table(path)
        with pyarrow.memory_map(str(path)) as file:
            return ipc.open_stream(file).read_all()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"{str(path)!r} is not a {path.suffix[1:]} file: {error}") from error


def _features(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """What the datasets library wrote into a file about its columns; {} where it did not."""
    return json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})


def _features_beside(path: Path) -> dict[str, Any]:
    info = path.with_name("dataset_info.json")
    return json.loads(info.read_text(encoding="utf-8")).get("features") or {} if info.is_file() else {}


def _choose(
    given: str | None,
    kind: str,
    usual: Sequence[str],
    what: str,
    names: Sequence[str],
    features: Mapping[str, Any],
    source: str,
) -> str:
    if given is not None:
        if given not in names:
            raise ValueError(f"{source} has no column {given!r}; it has {', '.join(names)}")
        return given
    of_kind = [name for name in names if (features.get(name) or {}).get("_type") == kind]
    if len(of_kind) == 1:
        return of_kind[0]
    if len(of_kind) > 1:
        raise ValueError(
            f"{source} has several columns of kind {what}: {', '.join(of_kind)}; name one of them"
        )
    for name in usual:
        if name in names:
            return name
    raise ValueError(f"{source} has no column {what!r}; it has {', '.join(names)}")


def _encoded(value: Any, column: str, row: int, folder: Path | None, source: str) -> bytes | Path:
    content = image_in_cell(value, folder)
    if not isinstance(content, bytes | Path) or not content:
        raise ValueError(
            f"the column {column!r} of {source} must hold encoded images or their paths, "
            f"got {'nothing' if content == b'' else type(content).__name__} in row {row}"
        )
    return content

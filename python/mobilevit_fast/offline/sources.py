"""Images named by folders, parquet files, lists and photographs, read a part at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from mobilevit_fast.image import ImageSource, find_images, image_in_cell
from mobilevit_fast.parquet import import_parquet

_LISTS = (".txt", ".lst")
"""Endings of files that name one image a line."""

_COLUMNS = ("image", "img", "jpg", "bytes", "path", "file_name")
"""Columns of a parquet file that may hold the images, the first that is there."""


class ImageList(Protocol):
    """Named images in a fixed order."""

    def __len__(self) -> int: ...

    def files(self) -> Sequence[str | os.PathLike]:
        """What is read."""
        ...

    def parts(self, size: int) -> Iterator[tuple[list[str], list[ImageSource]]]:
        """Names and images, `size` at a time, the last part perhaps fewer; nothing is decoded."""
        ...

    def fingerprint(self) -> str:
        """Hexadecimal; another one where the images, their order or their number changed."""
        ...


def open_images(sources: Sequence[str | os.PathLike]) -> ImageList:
    """Finds the images.

    Args:
        sources: folders (with the folders in them), text files with one path a line (.txt, .lst), and image
            files; or one parquet file with a column image, img, jpg or bytes (encoded images, also as the
            datasets library writes them), or path or file_name, relative to the file's folder.

    Raises:
        FileNotFoundError: a source, or an image that a list names first, does not exist.
        ValueError: no image, a parquet file among others, or one without such a column.
        ImportError: a parquet file, and pyarrow is not installed.
    """
    tables = [source for source in sources if Path(source).suffix == ".parquet"]
    if tables and len(sources) > 1:
        raise ValueError(f"give the parquet file {os.fspath(tables[0])!r} alone, others in other runs")
    if tables:
        return _TableImages(Path(tables[0]))
    paths: list[str] = []
    for source in map(Path, sources):
        if source.is_dir():
            paths += map(str, find_images(source))
        elif not source.exists():
            raise FileNotFoundError(f"there is no image, folder or list {str(source)!r}")
        else:
            paths += _read_list(source) if source.suffix in _LISTS else [str(source)]
    if not paths:
        raise ValueError("no images were given")
    return _FileImages(paths)


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} must hold one path a line: {error}") from error
    return [line.strip() for line in lines if line.strip()]


class _FileImages:
    def __init__(self, paths: list[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def files(self) -> Sequence[str | os.PathLike]:
        return self._paths

    def parts(self, size: int) -> Iterator[tuple[list[str], list[ImageSource]]]:
        for start in range(0, len(self._paths), size):
            names = self._paths[start : start + size]
            yield names, list(names)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for path in self._paths:
            digest.update(repr((path, _file_facts(Path(path)))).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


class _TableImages:
    """Rows of a parquet file, named by its name and their number."""

    def __init__(self, path: Path) -> None:
        pyarrow, parquet = import_parquet()
        if not path.exists():
            raise FileNotFoundError(f"there is no parquet file {str(path)!r}")
        try:
            self._file = parquet.ParquetFile(path)
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{str(path)!r} is not a parquet file: {error}") from error
        names = self._file.schema_arrow.names
        column = next((name for name in _COLUMNS if name in names), None)
        if column is None:
            raise ValueError(
                f"{str(path)!r} has no column {', '.join(_COLUMNS[:-1])} or {_COLUMNS[-1]}; "
                f"it has {', '.join(names)}"
            )
        if not len(self):
            raise ValueError(f"{str(path)!r} has no rows")
        self._path, self._column = path, column

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    def files(self) -> Sequence[str | os.PathLike]:
        return (self._path,)

    def parts(self, size: int) -> Iterator[tuple[list[str], list[ImageSource]]]:
        names: list[str] = []
        images: list[ImageSource] = []
        row = 0
        for batch in self._file.iter_batches(batch_size=size, columns=[self._column]):
            for value in batch.column(0).to_pylist():
                names.append(f"{self._path.name}:{row}")
                images.append(image_in_cell(value, self._path.parent))
                row += 1
                if len(images) == size:
                    yield names, images
                    names, images = [], []
        if images:
            yield names, images

    def fingerprint(self) -> str:
        facts = (self._path.name, _file_facts(self._path), len(self), self._column)
        return hashlib.sha256(repr(facts).encode()).hexdigest()


def _file_facts(path: Path) -> tuple[int, int] | None:
    """Size and time of the last change; None where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns

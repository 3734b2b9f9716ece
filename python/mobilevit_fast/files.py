"""Output files that are whole or not there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def check_folder_of(path: Path) -> None:
    """Raises FileNotFoundError or PermissionError where nothing can be written beside `path`."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to write {path.name!r} into")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {str(path.parent)!r} is not writable")


def check_place(path: Path) -> None:
    """To be called before the work whose outcome is written, which would be lost.

    Raises:
        FileNotFoundError, PermissionError: as `check_folder_of` does.
        IsADirectoryError: `path` is a folder.
    """
    check_folder_of(path)
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; name a file")


def check_not_input(path: Path, inputs: Iterable[object]) -> None:
    """Raises ValueError where writing `path` would destroy one of the files or folders that are read."""
    for source in inputs:
        if isinstance(source, str | os.PathLike) and path.exists() and _is_same(path, source):
            raise ValueError(f"{str(path)!r} is read from, and cannot be written to; name another output")


def _is_same(path: Path, source: str | os.PathLike) -> bool:
    try:
        return os.path.samefile(path, os.path.expanduser(source))
    except (OSError, ValueError):  # no file at all, such as a hub id
        return False


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A name beside `path` to write to; that file replaces `path` when the block ends without error.

    Raises as `check_place` does.
    """
    path = Path(path)
    check_place(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

"""What all pictures need: matplotlib, and a file that may be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mobilevit_fast.files import check_place, replacing

SUFFIXES = (".png", ".svg")


def figure_class() -> type[Any]:
    """matplotlib's Figure. Raises ImportError that says how to add it."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError("pictures need matplotlib: pip install matplotlib") from error
    return Figure


def check_picture(path: Path) -> None:
    """To be called before the work whose outcome is drawn, which would be lost.

    Raises:
        ValueError: another ending than .png or .svg.
        FileExistsError: `path` exists.
        FileNotFoundError, PermissionError: as `check_place` does.
        ImportError: matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a picture must end in {' or '.join(SUFFIXES)}, got {str(path)!r}")
    if path.exists():
        raise FileExistsError(f"{str(path)!r} exists; name another file or remove it")
    check_place(path)
    figure_class()


def save_picture(figure: Any, path: str | os.PathLike, **options: Any) -> None:
    """Writes matplotlib's Figure whole or not at all, in the format that the path's ending names.

    Args:
        options: more of `Figure.savefig`.

    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError: as `check_place` does.
        ValueError: an ending that matplotlib does not know.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:] or "png", **options)

"""The image in a cell of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def image_in_cell(value: Any, folder: Path | None = None) -> Any:
    """What `load_image` reads from one cell.

    Args:
        value: encoded bytes, a path, or a dictionary of either, as the datasets library writes them.
        folder: the table's; paths are relative to it, or to the working directory where it has none.

    Returns:
        bytes, which are empty where the cell is, or a path; what is neither as it is, for `load_image` to
        refuse.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str) and folder is not None:
        return folder / value
    return b"" if value is None else value

"""The image files in a folder."""

from __future__ import annotations

import os
from pathlib import Path

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
"""What counts as an image in a folder; a file named by itself may have any ending."""


def find_images(folder: str | os.PathLike) -> list[Path]:
    """All image files in a folder and the folders in it, sorted.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r}")
    images = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    if not images:
        raise ValueError(f"folder {str(folder)!r} holds no photographs ({', '.join(IMAGE_SUFFIXES)})")
    return images

"""Pictures with the content of photographs (gradients, edges, noise), made here so that none is shipped."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB picture that no channel flip, mirror or shift by one pixel leaves as it is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(3):
        fy, fx, edge = *rng.uniform(-0.15, 0.15, 2), rng.uniform(0.3, 0.7)
        plane = (
            90 + 50 * np.sin(fy * y + fx * x) + 80 * (y * edge > x * (1 - edge)) + rng.normal(0, 12, y.shape)
        )
        planes.append(plane)
    return Image.fromarray(np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file of that kind."""
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def every_kind_of_file() -> dict[str, bytes]:
    """Name of a kind of image file -> one such file."""
    photo = photograph(331, 267)
    palette = photo.quantize(40)
    files = {
        "jpeg": encoded(photo, "JPEG"),
        "progressive jpeg": encoded(photo, "JPEG", progressive=True),
        "grey jpeg": encoded(photo.convert("L"), "JPEG"),
        "cmyk jpeg": encoded(photo.convert("CMYK"), "JPEG"),
        "png": encoded(photo, "PNG"),
        "png with a transparent colour": encoded(photo, "PNG", transparency=photo.getpixel((0, 0))),
        "black and white png": encoded(photo.convert("1"), "PNG"),
        "grey png with alpha": encoded(with_alpha(photo.convert("L")), "PNG"),
        "png with alpha": encoded(with_alpha(photo), "PNG"),
        "16-bit png": encoded(Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 2), "PNG"),
        "palette png": encoded(palette, "PNG"),
        "palette png with a transparent colour": encoded(palette, "PNG", transparency=3),
        "palette png with alpha": encoded(palette, "PNG", transparency=bytes(range(0, 240, 6))),
        "gif": encoded(palette, "GIF"),
        "animated gif": encoded(
            palette, "GIF", save_all=True, append_images=[photograph(331, 267, 9).quantize(9)]
        ),
        "bmp": encoded(photo, "BMP"),
        "tiff": encoded(photo, "TIFF"),
        "webp": encoded(photo, "WEBP"),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        files[f"jpeg of orientation {orientation}"] = encoded(photo, "JPEG", exif=exif)
    return files


def with_alpha(image: Image.Image) -> Image.Image:
    """The image with an alpha channel that rises from transparent to opaque."""
    image = image.copy()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def photographs_in(folder: Path) -> dict[str, bytes]:
    """Name -> content of the JPEG and PNG files of a folder."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return {path.name: path.read_bytes() for path in files}

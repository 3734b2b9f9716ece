"""Anything that holds one image -> an upright RGB image."""

from __future__ import annotations

import os
import threading
import warnings
from io import BytesIO, TextIOBase
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 89_478_485
"""Most pixels of an image that is decoded unless the caller says so: a quarter of a gigabyte as RGB."""

ImageSource = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray


def load_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode one image to mode RGB, 8 bits a channel, with its EXIF orientation applied.

    Colours are converted as the pipelines of transformers convert them: transparency is dropped, greyscale
    is repeated, CMYK is converted, an animation gives its first frame, 16-bit greyscale is clipped to 255.
    A PIL image or array that is handed in is left unchanged.

    Args:
        source: a path, the bytes of an image file, a binary file object, a PIL image, or a uint8 array of
            shape [H, W], [H, W, 1], [H, W, 3] (RGB) or [H, W, 4] (RGBA).
        max_pixels: refuse images with more pixels than this before decoding them. Pillow's own limit, twice
            `PIL.Image.MAX_IMAGE_PIXELS`, stands above it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not an image, damaged, too large, or an array of the wrong shape.
        TypeError: `source` is none of the above, or an array that is not uint8.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _to_rgb(source, describe_source(source), max_pixels, in_place=False)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_stream(BytesIO(source), describe_source(source), max_pixels)
    if isinstance(source, str | os.PathLike):
        return _from_path(source, max_pixels)
    if hasattr(source, "read"):
        content = None if isinstance(source, TextIOBase) else source.read()
        if not isinstance(content, bytes):
            given = "text" if content is None else type(content).__name__
            raise TypeError(f"an image stream must give bytes, got {given}; open it with 'rb'")
        return _from_stream(BytesIO(content), describe_source(source), max_pixels)
    raise TypeError(
        f"cannot read an image from {type(source).__name__}; "
        "give a path, bytes, a binary file object, a PIL image or a uint8 array [H, W, 3]"
    )


def describe_source(source: ImageSource) -> str:
    """What errors call an image: by its name, or by what it is where it has none."""
    if isinstance(source, np.ndarray):
        return f"{source.dtype} array of shape {list(source.shape)}"
    if isinstance(source, Image.Image):
        return f"PIL image of mode {source.mode}"
    if isinstance(source, bytes | bytearray | memoryview):
        return f"image of {len(source)} bytes"
    if isinstance(source, str | os.PathLike):
        return f"image {os.fsdecode(source)!r}"
    return f"image {getattr(source, 'name', 'stream')!r}"


def image_list(images: Any) -> list[Any]:
    """The images of a list or tuple, those of a batch [N, H, W, C], or the one that was given."""
    is_batch = isinstance(images, list | tuple) or getattr(images, "ndim", None) == 4
    return list(images) if is_batch else [images]


def _from_path(source: str | os.PathLike, max_pixels: int) -> Image.Image:
    path = os.fsdecode(source)
    if path.startswith(("http://", "https://")):
        raise ValueError(f"{path!r} is an address; download the image and give its path or its bytes")
    if os.path.isdir(path):
        raise ValueError(f"{path!r} is a folder; give the images in it one by one")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no image {path!r}")
    with open(path, "rb") as stream:
        return _from_stream(stream, describe_source(path), max_pixels)


def _from_stream(stream: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(stream)
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not an image that Pillow can read: {_what_it_holds(stream)}") from error
    except Exception as error:
        # Decoders raise almost any type on a hostile header; the caller needs to know which file it was.
        raise ValueError(f"{name} cannot be read: {error}") from error
    if image.format == "EPS":
        raise ValueError(f"{name} is PostScript, a program for a printer; convert it to PNG or JPEG first")
    return _to_rgb(image, name, max_pixels, in_place=True)


_LOADING = tuple(threading.Lock() for _ in range(61))
"""Several threads may be handed one PIL image, which Pillow opens lazily and loads in place. Images share
locks, so many that they seldom wait for another."""


def _what_it_holds(stream: BinaryIO) -> str:
    stream.seek(0)
    start = stream.read(16)
    return f"it starts with {start!r}" if start else "it is empty"


def _to_rgb(image: Image.Image, name: str, max_pixels: int, *, in_place: bool) -> Image.Image:
    pixels = image.width * image.height
    if pixels == 0:
        raise ValueError(f"{name} has no pixels: {image.width}x{image.height}")
    if pixels > max_pixels:
        raise ValueError(
            f"{name} is {image.width}x{image.height}, {pixels} pixels, over the limit of {max_pixels}; "
            "shrink it, or open it with load_image(image, max_pixels=...)"
        )
    if image.mode.startswith("I") or image.mode == "F":
        warnings.warn(
            f"{name} has more than 8 bits a channel (mode {image.mode}): as in transformers, what is above "
            "255 becomes white; convert it to 8 bits first",
            stacklevel=2,
        )
    try:
        if in_place:
            ImageOps.exif_transpose(image, in_place=True)
        else:
            with _LOADING[id(image) % len(_LOADING)]:
                image.load()
                is_turned = bool(image.getexif())
            if is_turned:
                image = ImageOps.exif_transpose(image)
        if image.mode == "RGB":
            image.load()
            return image
        if image.mode == "P":
            # The same colours as a direct conversion, which warns about palettes with transparency.
            image = image.convert("RGBA")
        return image.convert("RGB")
    except Exception as error:
        # Decoders raise almost any type on damaged data; the caller needs to know which file it was.
        raise ValueError(f"{name} is damaged and cannot be decoded: {error}") from error


def _from_array(array: np.ndarray) -> Image.Image:
    given = f"{array.dtype} array of shape {list(array.shape)}"
    if array.dtype != np.uint8:
        raise TypeError(f"an image array must be uint8 with values 0 to 255, got a {given}")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        hint = "; move the channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise ValueError(f"an image array must be [H, W] or [H, W, 1, 3 or 4], got a {given}{hint}")
    if array.size == 0:
        raise ValueError(f"an image array needs at least one pixel, got a {given}")
    if array.ndim == 3 and channels == 1:
        array = array[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")

"""Models of format native as C programs run them: mobilevit_fast.h by way of ctypes.

The module `_C` holds the C library too.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_uint8, c_void_p
from functools import cache

import numpy as np

from mobilevit_fast import _C

_Floats, _Bytes = POINTER(c_float), POINTER(c_uint8)

_MODEL_FACTS = {
    "mvf_class_count": c_int32,
    "mvf_input_height": c_int32,
    "mvf_input_width": c_int32,
    "mvf_channel_order": c_char_p,
    "mvf_precision": c_char_p,
    "mvf_isa": c_char_p,
    "mvf_threads": c_int32,
}

_CALLS = {
    "mvf_load": [c_char_p, c_void_p, POINTER(c_void_p)],
    "mvf_load_memory": [c_char_p, c_size_t, c_void_p, POINTER(c_void_p)],
    "mvf_run": [c_void_p, _Floats, c_int64, c_int64, c_int64, _Floats, c_size_t],
    "mvf_run_rgb": [c_void_p, _Bytes, c_int64, c_int64, c_int64, _Floats, c_size_t],
    "mvf_prepared_size": [c_void_p, c_int64, c_int64, POINTER(c_int64), POINTER(c_int64)],
    "mvf_prepare_rgb": [c_void_p, _Bytes, c_int64, c_int64, c_int64, _Floats, c_size_t],
}


class Options(ctypes.Structure):
    """mvf_options."""

    _fields_ = (("size", c_size_t), ("threads", c_int), ("isa", c_char_p))


@cache
def library() -> ctypes.CDLL:
    """The functions of mobilevit_fast.h, with their types."""
    functions = ctypes.CDLL(_C.__file__)
    for name, result in _MODEL_FACTS.items():
        getattr(functions, name).argtypes = [c_void_p]
        getattr(functions, name).restype = result
    for name, arguments in _CALLS.items():
        getattr(functions, name).argtypes = arguments
    for name in ("mvf_version", "mvf_error", "mvf_label"):
        getattr(functions, name).restype = c_char_p
    functions.mvf_label.argtypes = [c_void_p, c_int32]
    functions.mvf_free.argtypes = [c_void_p]
    functions.mvf_free.restype = None
    return functions


def library_version() -> str:
    """Of the C library, as its `mvf_version` says."""
    return library().mvf_version().decode()


class CModel:
    """A model of format native, loaded from a path or from the bytes of such a file.

    Raises:
        ValueError: whatever the library refuses, in its words.
    """

    def __init__(
        self, source: str | os.PathLike[str] | bytes, threads: int = 0, isa: str | None = None
    ) -> None:
        options = Options(ctypes.sizeof(Options), threads, isa.encode() if isa else None)
        handle = c_void_p()
        if isinstance(source, bytes):
            _check(library().mvf_load_memory(source, len(source), byref(options), byref(handle)))
        else:
            _check(library().mvf_load(os.fsencode(source), byref(options), byref(handle)))
        self._model = handle
        weakref.finalize(self, library().mvf_free, handle)
        facts = {name.removeprefix("mvf_"): getattr(library(), name)(handle) for name in _MODEL_FACTS}
        self.classes: int = facts["class_count"]
        self.input_size: tuple[int, int] = facts["input_height"], facts["input_width"]
        self.channel_order: str = facts["channel_order"].decode()
        self.precision: str = facts["precision"].decode()
        self.isa: str = facts["isa"].decode()
        self.threads: int = facts["threads"]
        self.labels = tuple(library().mvf_label(handle, index).decode() for index in range(self.classes))

    def run(self, pixel_values: np.ndarray) -> np.ndarray:
        """Logits float32 [N, classes] of preprocessed images float32 [N, 3, H, W]."""
        images = np.ascontiguousarray(pixel_values, np.float32)
        logits = np.empty((len(images), self.classes), np.float32)
        count, _, height, width = images.shape
        _check(
            library().mvf_run(
                self._model, _floats(images), count, height, width, _floats(logits), logits.size
            )
        )
        return logits

    def run_rgb(self, image: np.ndarray) -> np.ndarray:
        """Logits float32 [classes] of one image uint8 [H, W, 3] of any size; rows may lie apart."""
        logits = np.empty(self.classes, np.float32)
        _check(library().mvf_run_rgb(self._model, *_rgb(image), _floats(logits), logits.size))
        return logits

    def prepare_rgb(self, image: np.ndarray) -> np.ndarray:
        """float32 [3, H, W] that `run` takes, of one image as for `run_rgb`."""
        height, width = c_int64(), c_int64()
        _check(
            library().mvf_prepared_size(
                self._model, image.shape[1], image.shape[0], byref(width), byref(height)
            )
        )
        pixels = np.empty((3, height.value, width.value), np.float32)
        _check(library().mvf_prepare_rgb(self._model, *_rgb(image), _floats(pixels), pixels.size))
        return pixels


def _check(status: int) -> None:
    if status:
        raise ValueError(library().mvf_error().decode(errors="replace"))


def _floats(array: np.ndarray) -> ctypes.Array:
    return array.ctypes.data_as(_Floats)


def _rgb(image: np.ndarray) -> tuple[ctypes.Array, int, int, int]:
    """Pointer, width, height and bytes from row to row."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.strides[1:] != (3, 1):
        raise ValueError(f"an image must be uint8 [H, W, 3] with dense rows, got {image.dtype} {image.shape}")
    return image.ctypes.data_as(_Bytes), image.shape[1], image.shape[0], image.strides[0]

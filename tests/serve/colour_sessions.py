"""Sessions that answer with the image's own colour, so that an answer shows whose it is."""

from __future__ import annotations

import threading
import time
from io import BytesIO

import numpy as np
from PIL import Image

from mobilevit_fast.image import Preprocessing

SIDE = 8
LABELS = tuple(f"class {index}" for index in range(256))


class ColourSession:
    """Logits peak at the red value of the image. Keeps the sizes of its batches.

    Args:
        fixed_ms, image_ms: what a batch costs, and each image of it.
        gate: where given, no batch begins until it is set.
    """

    threads = 2
    labels = LABELS
    input_size = (SIDE, SIDE)
    precision = "fp32"
    isa = "none"
    source = "colours"

    def __init__(self, fixed_ms: float = 0.0, image_ms: float = 0.0, crop: bool = True) -> None:
        self.fixed_ms, self.image_ms = fixed_ms, image_ms
        self.preprocessing = Preprocessing(
            shortest_edge=None, crop_size=(SIDE, SIDE) if crop else None, channel_order="RGB", rescale=1.0
        )
        self.gate = threading.Event()
        self.gate.set()
        self.begun = 0
        self.batches: list[list[int]] = []

    def run(self, pixels: np.ndarray) -> np.ndarray:
        self.begun += 1
        self.gate.wait()
        time.sleep((self.fixed_ms + self.image_ms * len(pixels)) / 1e3)
        reds = pixels[:, 0, 0, 0].astype(int)
        if (reds == POISON).any():
            raise ValueError("an image that the engine refuses")
        self.batches.append(reds.tolist())
        logits = np.zeros((len(pixels), len(LABELS)), np.float32)
        logits[np.arange(len(pixels)), reds] = 9.0
        return logits


POISON = 13


def red_png(red: int, side: int = SIDE) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (side, side), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def red_tensor(red: int, side: int = SIDE) -> np.ndarray:
    return np.full((3, side, side), red, np.float32)

"""One image on its way through a batcher, and what comes back."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from mobilevit_fast.arguments import check_count
from mobilevit_fast.image import ImageSource
from mobilevit_fast.predictions import Prediction, rank, softmax


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model says about one image, and what it took.

    Attributes:
        logits: float32 [classes].
        labels: one name a class.
        batch_size: how many images ran together with this one, itself included.
        decode_ms: reading, resizing and cropping; 0 for a tensor.
        run_ms: the engine, for the whole batch.
        total_ms: from acceptance to answer; what is left of it was waiting.
    """

    logits: np.ndarray
    labels: tuple[str, ...]
    batch_size: int
    decode_ms: float
    run_ms: float
    total_ms: float

    @property
    def scores(self) -> np.ndarray:
        """Probabilities, float64 [classes]."""
        return softmax(self.logits[None])[0]

    def predictions(self, top_k: int = 5) -> list[Prediction]:
        """The `top_k` most probable labels, the most probable first.

        Raises FloatingPointError where the logits are not finite, ValueError or TypeError for a `top_k` that
        is no positive whole number.
        """
        check_count("top_k", top_k)
        return rank(self.logits, self.labels, top_k)


class Stage(Enum):
    """Where a request is. In WAITING and READY the queue has it, in DECODING and RUNNING a thread."""

    WAITING = "waiting"
    DECODING = "decoding"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"


@dataclass(eq=False, slots=True)
class Request:
    """An accepted image. Times are of `time.perf_counter`, in seconds.

    Attributes:
        image: as `load_image` takes it; None once it is decoded.
        pixels: float32 [3, H, W]; None until it is decoded.
        rank: requests with a lower one go first.
        deadline: when it is too late to run it; infinity for never.
    """

    image: ImageSource | None
    pixels: np.ndarray | None
    rank: tuple[int, int]
    arrived: float
    deadline: float
    stage: Stage
    decoded: float = 0.0
    decode_ms: float = 0.0
    future: Future[Answer] = field(default_factory=Future)

    def __lt__(self, other: Request) -> bool:
        return self.rank < other.rank

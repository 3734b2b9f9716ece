"""From logits to labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """One answer about one image: the label, its index among the classes and its probability, 0 to 1."""

    label: str
    index: int
    score: float


def rank(logits: np.ndarray, labels: Sequence[str], top_k: int) -> list[Prediction]:
    """The `top_k` most probable labels by one image's logits [classes], the most probable first.

    Raises:
        FloatingPointError: the logits are not finite, so that no label is more probable than another.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError(
            "the logits are not finite, so no label is the most probable: the checkpoint has weights that "
            "are not finite, or values too large for its precision"
        )
    scores = softmax(logits[None])[0]
    best = np.argsort(-scores, kind="stable")[:top_k]
    return [Prediction(labels[index], index, float(scores[index])) for index in best.tolist()]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities float64 [N, classes] of logits [N, classes]."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)

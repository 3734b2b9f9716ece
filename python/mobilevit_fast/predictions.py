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


def rank(logits: np.ndarray, labels: Sequence[str], top_k: int) -> list[list[Prediction]]:
    """For each row of logits [N, classes] its `top_k` most probable labels, the most probable first."""
    scores = softmax(logits)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return [
        [Prediction(labels[index], index, float(row[index])) for index in indices.tolist()]
        for row, indices in zip(scores, best, strict=True)
    ]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities float64 [N, classes] of logits [N, classes]."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)

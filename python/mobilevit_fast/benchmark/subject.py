"""What a benchmark runs: a variant with random weights, or a model from a file."""

from __future__ import annotations

from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.benchmark.random_weights import random_checkpoint
from mobilevit_fast.config import MODELS
from mobilevit_fast.weights import Checkpoint, QuantizedCheckpoint, load_classifier

Subject = Checkpoint | QuantizedCheckpoint


def load_subject(model: str, precision: str | None = None) -> Subject:
    """The variant called so with random weights, quantised for precision "int8"; or what `Session` takes.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `load_classifier` does.
    """
    if model not in MODELS:
        return load_classifier(model)
    return random_quantized(model) if precision == "int8" else random_checkpoint(model)


def float_twin(subject: Subject) -> Checkpoint:
    """A float model that costs what the subject's variant costs: itself, or one with random weights."""
    return subject if isinstance(subject, Checkpoint) else random_checkpoint(subject.config.name)

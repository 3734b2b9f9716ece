"""What callers give to be exported -> plain data."""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from mobilevit_fast.quantization import QuantizedModel
from mobilevit_fast.quantization.sources import to_checkpoint
from mobilevit_fast.weights import Checkpoint, QuantizedCheckpoint, load_classifier

Source = Checkpoint | QuantizedCheckpoint


def to_source(given: Any) -> Source:
    """The checkpoint that `given` is, names or holds; for what it may be see `export`.

    Raises:
        TypeError, ValueError: another kind of thing, or a checkpoint that lacks something.
        FileNotFoundError: as `load_checkpoint` does.
    """
    if isinstance(given, QuantizedModel):
        return given.checkpoint()
    if isinstance(given, QuantizedCheckpoint):
        return given
    if isinstance(given, str | os.PathLike):
        return load_classifier(given)
    if not isinstance(given, nn.Module | Checkpoint):
        raise TypeError(
            f"cannot export an object of type {type(given).__name__}; give a torch module, a QuantizedModel, "
            "a checkpoint, a path or a hub id"
        )
    return to_checkpoint(given)


def ready_precisions(source: Source) -> tuple[str, ...]:
    """What the model can be exported in, its own first."""
    if isinstance(source, QuantizedCheckpoint) and any(layer.is_integer for layer in source.layers.values()):
        return ("int8",)
    return ("fp32", "fp16", "bf16")

"""What a model is computed in: what it was made for, what was asked for, and the plan of that."""

from __future__ import annotations

from typing import Any

from mobilevit_fast import cuda
from mobilevit_fast.lower import lower
from mobilevit_fast.lower_quantized import compute_precision, lower_quantized
from mobilevit_fast.weights import Checkpoint, NativeModel, QuantizedCheckpoint

Runnable = Checkpoint | QuantizedCheckpoint | NativeModel
"""What a session is made of."""


def own_precision(checkpoint: Runnable) -> str:
    """What a model computes in unless told otherwise."""
    if isinstance(checkpoint, NativeModel):
        return checkpoint.precision
    return compute_precision(checkpoint) if isinstance(checkpoint, QuantizedCheckpoint) else "fp32"


def kernels_for(precision: str) -> str:
    """The precision of the kernels that a session of that precision runs."""
    return "int8" if precision == "mixed" else precision


def choose_precision(checkpoint: Runnable, wanted: str | None) -> str:
    """What a session on the CPU computes in. Raises ValueError where the model is not made for `wanted`."""
    own = own_precision(checkpoint)
    if wanted in (None, own):
        return own
    if isinstance(checkpoint, NativeModel):
        raise ValueError(f"{checkpoint.source!r} was exported for {own}, not for {wanted!r}; export it again")
    if own != "fp32":
        raise ValueError(
            f"{checkpoint.source!r} is quantised and computes in {own}; leave out precision={wanted!r}"
        )
    if wanted == "int8":
        raise ValueError(
            f"precision 'int8' is not available for {checkpoint.source!r}, which is not quantised; "
            "quantize() makes a model that is"
        )
    return wanted


def lower_to_plan(checkpoint: Runnable, precision: str, reverse_channels: bool = False) -> dict[str, Any]:
    """The plan of a model, as `lower` returns it, for one of the precisions that `Session` computes in.

    Raises:
        ValueError: as `lower` and `lower_quantized` do.
    """
    if isinstance(checkpoint, NativeModel):
        return checkpoint.reversed_plan() if reverse_channels else checkpoint.plan
    if isinstance(checkpoint, Checkpoint):
        return lower(
            checkpoint.config, checkpoint.tensors, precision=precision, reverse_channels=reverse_channels
        )
    floats = precision if compute_precision(checkpoint) == "fp32" else "fp32"
    return lower_quantized(checkpoint, precision=floats, reverse_channels=reverse_channels)


def choose_device_precision(
    checkpoint: Runnable, wanted: str | None, threads: int | None, isa: str | None
) -> str:
    """What a session on a CUDA device computes in.

    Raises ValueError where devices or the model lack `wanted`, and for settings that are the CPU's.
    """
    for name, value in (("threads", threads), ("isa", isa)):
        if value is not None:
            raise ValueError(f"{name}={value!r} applies to the CPU only; leave it out on a CUDA device")
    own = own_precision(checkpoint)
    if "int8" in (wanted, kernels_for(own)):
        return choose_precision(checkpoint, wanted)
    if own != "fp32":
        raise ValueError(
            f"{checkpoint.source!r} computes in {own}, which is the CPU's alone; use device='cpu'"
        )
    precision = wanted or cuda.PRECISIONS[0]
    if precision not in cuda.PRECISIONS:
        available = ", ".join(cuda.PRECISIONS)
        raise ValueError(
            f"precision {precision!r} is not available on a CUDA device; choose one of: {available}"
        )
    return precision

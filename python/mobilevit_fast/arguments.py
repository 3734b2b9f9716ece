"""Checks of arguments that several functions take."""

from __future__ import annotations

import operator


def check_count(name: str, value: int, *, most: int | None = None) -> None:
    """Raises TypeError for what is no whole number, ValueError for one below 1 or above `most`."""
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if count < 1 or (most is not None and count > most):
        limits = "at least 1" if most is None else f"from 1 to {most}"
        raise ValueError(f"{name} must be {limits}, got {value}")

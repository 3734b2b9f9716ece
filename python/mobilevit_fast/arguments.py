"""Checks of arguments that several functions take."""

from __future__ import annotations

import operator


def check_count(name: str, value: int) -> None:
    """Raises TypeError for what is no whole number, ValueError for one below 1."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")

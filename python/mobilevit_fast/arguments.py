"""Checks of arguments that several functions take."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable


def check_count(name: str, value: int, *, least: int = 1, most: int | None = None) -> int:
    """The number as an int, which NumPy's may stand for.

    Raises TypeError for what is no whole number, ValueError for one below `least` or above `most`.
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if count < least or (most is not None and count > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be {limits}, got {value}")
    return count


def suggest(name: object, known: Iterable[str], *, cutoff: float) -> str:
    """The end of a message about an unknown name: near ones, or all where none is."""
    names = list(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=cutoff)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"

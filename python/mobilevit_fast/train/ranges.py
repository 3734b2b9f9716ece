"""Checks that a number lies in its range; each raises ValueError with the number's name, range and value."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from mobilevit_fast.arguments import check_count

_SEEDS = 2**32
"""NumPy's global generator, which transformers seeds along, takes no more."""


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The number as an int, which NumPy's may stand for."""
    try:
        return check_count(name, value, least=least, most=most)
    except TypeError as error:
        raise ValueError(str(error)) from None


def check_seed(name: str, value: Any) -> int:
    return check_whole(name, value, 0, _SEEDS - 1)


def check_finite(name: str, value: Any) -> None:
    if not _is_number(value) or not -math.inf < value < math.inf:
        raise ValueError(f"{name} must be a finite number, got {value!r}")


def check_positive(name: str, value: Any) -> None:
    check_finite(name, value)
    if value <= 0:
        raise ValueError(f"{name} must be above 0, got {value!r}")


def check_not_negative(name: str, value: Any) -> None:
    check_finite(name, value)
    if value < 0:
        raise ValueError(f"{name} must not be below 0, got {value!r}")


def check_bound(name: str, value: Any) -> None:
    """As `check_positive`, but infinity, which bounds nothing, will do."""
    if not _is_number(value) or not value > 0:
        raise ValueError(f"{name} must be a number above 0, got {value!r}")


def check_share(name: str, value: Any, *, whole: bool = False) -> None:
    """From 0 to below 1, or with `whole` to 1."""
    if not _is_number(value) or not (0 <= value < 1 or (whole and value == 1)):
        raise ValueError(f"{name} must be from 0 to {'1' if whole else 'below 1'}, got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)

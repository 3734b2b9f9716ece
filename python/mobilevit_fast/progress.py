"""How functions that take a while show how far they have come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""Wraps steps, given their number and a title, and yields them one by one."""

"""A progress bar for work that turns out to take a while."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

Item = TypeVar("Item")

PATIENCE = 0.7
"""Seconds without a bar: short work should not flicker, nor wait for the import of rich."""


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody watches; a stream that was closed before Python started is None."""
    return stream is not None and stream.isatty()


def show_progress(
    items: Iterable[Item], total: int, title: str, patience: float = PATIENCE
) -> Iterator[Item]:
    """Passes the items on; a terminal on standard error shows how many of `total` there are."""
    if not is_terminal(sys.stderr):
        yield from items
        return
    iterator = iter(items)
    deadline = time.monotonic() + patience
    done = 0
    while done < total and time.monotonic() < deadline:
        yield next(iterator)
        done += 1
    if done < total:
        yield from _with_bar(iterator, done, total, title)


def _with_bar(items: Iterator[Item], done: int, total: int, title: str) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Only what goes to the same terminal may be printed above the bar; a pipe keeps its own output.
    redirect = is_terminal(sys.stdout)
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=redirect
    ) as progress:
        task = progress.add_task(title, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)

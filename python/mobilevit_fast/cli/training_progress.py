"""How a training comes along: a bar on a terminal, a line an epoch elsewhere, both on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mobilevit_fast.cli.exits import say
from mobilevit_fast.cli.progress import is_terminal

if TYPE_CHECKING:
    from mobilevit_fast.train.trainer import Progress


class TrainingProgress:
    """Context in which a call with the present `Progress` shows it."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        if self._began is None:
            # A resumed training has done some of its steps before.
            self._began = time.monotonic(), progress.step - 1
        if is_terminal(sys.stderr):
            self._advance(progress)
        elif progress.is_measured:
            say(describe(progress, self._left(progress)))

    def _left(self, progress: Progress) -> float:
        assert self._began is not None
        began, before = self._began
        return (time.monotonic() - began) / max(progress.step - before, 1) * (progress.steps - progress.step)

    def _advance(self, progress: Progress) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("train", total=progress.steps)
        self._bar.update(
            self._task, completed=progress.step, total=progress.steps, description=_state(progress)
        )


def describe(progress: Progress, seconds_left: float) -> str:
    """One line: where the training is, how well it does, and how long it will take."""
    minutes, seconds = divmod(round(seconds_left), 60)
    return f"{_state(progress)}  {progress.step}/{progress.steps} steps  {minutes}:{seconds:02d} left"


def _state(progress: Progress) -> str:
    parts = [
        f"epoch {progress.epoch:.1f}/{progress.epochs:g}",
        f"loss {progress.loss:.3f}",
        f"accuracy {progress.accuracy:.1%}",
    ]
    if progress.validation is not None:
        parts.append(f"validation {progress.validation:.1%}")
    return "  ".join(parts)

"""A float model beside what quantisation made of it: size, speed and accuracy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mobilevit_fast.benchmark.interleave import Pace, interleave
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.cli.progress import show_progress
from mobilevit_fast.cli.text import megabytes, table
from mobilevit_fast.evaluation import ROUNDING, Dataset, evaluate
from mobilevit_fast.session import Session
from mobilevit_fast.weights import Checkpoint

_PACE = Pace(rounds=3, seconds=0.2, pause=0.05)
_SLOWER = 1.02
"""Ratio of times above which one counts as slower."""


@dataclass(frozen=True)
class Side:
    """`ms` an image, one at a time; `top1` and `top5` shares of 1, None where nothing was evaluated."""

    bytes: int
    ms: float
    top1: float | None
    top5: float | None


@dataclass(frozen=True)
class Comparison:
    """Both run by the engine on the same threads."""

    before: Side
    after: Side
    images: int
    isa: str
    threads: int

    @property
    def loss(self) -> float:
        """Fall of top-1, as a share of 1; 0 where nothing was evaluated."""
        return 0.0 if self.before.top1 is None else self.before.top1 - self.after.top1

    def exceeds(self, allowed: float) -> bool:
        """Whether more is lost than that; shares of whole images differ by rounding from what they stand
        for.
        """
        return self.loss > allowed + ROUNDING

    def warnings(self, allowed: float) -> list[str]:
        """What speaks against the quantised model; `allowed` is a fall of top-1, as a share of 1."""
        found = []
        if self.after.bytes >= self.before.bytes:
            found.append(f"the file grows, from {self.before.bytes} to {self.after.bytes} bytes")
        if self.after.ms > self.before.ms * _SLOWER:
            found.append(
                f"float is faster here: {self.before.ms:.2f} ms an image against {self.after.ms:.2f} "
                f"({self.isa}, threads: {self.threads})"
            )
        if self.exceeds(allowed):
            found.append(f"top-1 falls by {self.loss:.2%}, more than the allowed {allowed:.2%}")
        return found

    def describe(self) -> str:
        before, after = self.before, self.after
        smaller, faster = before.bytes / after.bytes, before.ms / after.ms
        size = f"{smaller:.2f} times smaller" if smaller >= 1 else f"{1 / smaller:.2f} times larger"
        rows = [
            ["size", megabytes(before.bytes), megabytes(after.bytes), size],
            ["one image", f"{before.ms:.2f} ms", f"{after.ms:.2f} ms", f"{faster:.2f} times as fast"],
        ]
        if before.top1 is not None:
            pairs = {"top-1": (before.top1, after.top1), "top-5": (before.top5, after.top5)}
            for name, (then, now) in pairs.items():
                rows.append([name, f"{then:.2%}", f"{now:.2%}", f"{100 * (now - then):+.2f} points"])
        title = f"{self.isa}, threads: {self.threads}"
        if self.images:
            title += f"; {self.images} test images"
        return f"{title}\n{table(('', 'float32', 'quantised', ''), rows)}"

    def to_data(self) -> dict[str, Any]:
        return asdict(self) | {"loss": self.loss}


def compare(
    checkpoint: Checkpoint,
    model: Any,
    validation: Dataset | None,
    *,
    threads: int | None,
    isa: str | None,
) -> Comparison:
    """Run a checkpoint and the `QuantizedModel` made of it by turns."""
    sessions = {
        "before": Session(checkpoint, threads=threads, isa=isa),
        "after": Session(model.checkpoint(), threads=threads, isa=isa),
    }
    pixels = random_images(1, *sessions["before"].input_size)
    calls = {name: lambda session=session: session.run(pixels) for name, session in sessions.items()}
    seconds = interleave(calls, _PACE)
    report = model.report
    size = {"before": report.float_bytes, "after": report.bytes}
    sides = {}
    for name, session in sessions.items():
        result = None if validation is None else evaluate(session, validation, progress=show_progress)
        shares = (None, None) if result is None else (result.top1, result.top5)
        sides[name] = Side(size[name], 1e3 * seconds[name], *shares)
    return Comparison(
        **sides,
        images=0 if validation is None else len(validation.images),
        isa=sessions["after"].isa,
        threads=sessions["after"].threads,
    )

"""How long the engine takes for a batch, by its size: measured first, then kept up to date by what runs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from time import perf_counter

_NEW_WEIGHT = 0.1
"""Share of a new measurement in the time kept: follows a machine that grows busy within tens of batches."""

_NEAR_BEST = 1.03
"""A smaller batch whose time an image is within this factor of the best is as good, and answers sooner."""

_PAYS = 0.95
"""A larger batch is worth waiting for where it takes at most this share of the time an image."""

_STALE = 16
"""Batches after which the table of times is made anew."""


class LatencyCurve:
    """Milliseconds a batch by number of images; sizes between two that are known lie on a line.

    Beyond the largest known size an image costs what it costs there. One thread measures and observes; any
    may read.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._known: dict[int, float] = {}
        self._table = [0.0] * largest
        self._observed = 0

    def measure(self, run: Callable[[int], object], *, budget_ms: float, most_ms: float) -> None:
        """Times `run(batch size)` at 1, 2, 4, ... and the largest size, the better of two runs each.

        Stops before a size that would exceed the budget for all of them, or after one that takes more than
        `most_ms`: no larger one will be chosen.
        """
        run(1)
        started = perf_counter()
        for size in self._sizes():
            spent = (perf_counter() - started) * 1e3
            if self._known and spent + 2 * self.latency(size) > budget_ms:
                return
            self._known[size] = min(_timed(run, size) for _ in range(2))
            self._tabulate()
            if self._known[size] > most_ms:
                return

    def observe(self, size: int, ms: float) -> None:
        """Takes note of a batch that ran."""
        known = self._known.get(size)
        self._known[size] = ms if known is None else known + _NEW_WEIGHT * (ms - known)
        self._observed += 1
        if known is None or self._observed % _STALE == 0:
            self._tabulate()

    def latency(self, size: int) -> float:
        """Expected milliseconds of a batch of 1 to the largest size; 0 while nothing is known."""
        return self._table[size - 1]

    def choose(self, most_ms: float) -> int:
        """The smallest batch of nearly the best time an image, among those within `most_ms`; at least 1."""
        costs = [ms / size for size, ms in enumerate(self._table, start=1) if size == 1 or ms <= most_ms]
        bound = min(costs) * _NEAR_BEST
        return next(size for size, cost in enumerate(costs, start=1) if cost <= bound)

    def waiting_pays(self, size: int, wanted: int) -> bool:
        """Whether `wanted` images together cost clearly less an image than `size` of them."""
        if wanted <= size:
            return False
        return self.latency(wanted) / wanted <= self.latency(size) / size * _PAYS

    def points(self) -> list[tuple[int, float]]:
        """(images, milliseconds) of every size that is known, the smallest first."""
        return sorted(self._known.copy().items())

    def _sizes(self) -> list[int]:
        doubled = [1 << power for power in range(self._largest.bit_length()) if 1 << power < self._largest]
        return [*doubled, self._largest]

    def _tabulate(self) -> None:
        points = self.points()
        table = [points[0][1]] * points[0][0]
        for (near, near_ms), (far, far_ms) in pairwise(points):
            slope = (far_ms - near_ms) / (far - near)
            # Never less than a smaller batch: noise must not make more images look quicker than fewer.
            table += [max(table[-1], near_ms + slope * (size - near)) for size in range(near + 1, far + 1)]
        last, cost = points[-1][0], table[-1] / points[-1][0]
        table += [cost * size for size in range(last + 1, self._largest + 1)]
        self._table = table


def _timed(run: Callable[[int], object], size: int) -> float:
    started = perf_counter()
    run(size)
    return (perf_counter() - started) * 1e3

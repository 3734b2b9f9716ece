"""From the values that an activation took in calibration to its grid of bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mobilevit_fast.quantization.point import Kind
from mobilevit_fast.weights import Grid

Range = tuple[float, float]
_SYMMETRIC_ZERO = 128
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Distribution:
    """`counts` [bins] of values in equal bins between `low` and `high`."""

    counts: np.ndarray
    low: float
    high: float

    @property
    def centres(self) -> np.ndarray:
        """float64 [bins]."""
        width = (self.high - self.low) / len(self.counts)
        return self.low + width * (np.arange(len(self.counts)) + 0.5)


class Observer(Protocol):
    """Chooses grids."""

    def choose(self, distribution: Distribution, kind: Kind) -> Grid:
        """The grid of that kind for values of that distribution."""
        ...


@dataclass(frozen=True)
class MinMax:
    """The whole range: nothing is cut off."""

    def choose(self, distribution: Distribution, kind: Kind) -> Grid:
        return grid_over((distribution.low, distribution.high), kind)


@dataclass(frozen=True)
class Percentile:
    """The range that holds `percent` of the values; as many are cut off below as above."""

    percent: float = 99.99

    def __post_init__(self) -> None:
        if not 50 < self.percent <= 100:
            raise ValueError(f"percent must be above 50 and at most 100, got {self.percent!r}")

    def choose(self, distribution: Distribution, kind: Kind) -> Grid:
        share = np.cumsum(distribution.counts) / max(distribution.counts.sum(), 1)
        outside = (1 - self.percent / 100) / 2
        ends = np.searchsorted(share, (outside, 1 - outside))
        low, high = distribution.centres[np.minimum(ends, len(share) - 1)]
        return grid_over((float(low), float(high)), kind)


@dataclass(frozen=True)
class MeanSquaredError:
    """The range with the least squared error, found by moving its ends in turn.

    Of what comes before SiLU the error after SiLU counts: all that lies far below zero may share a byte.

    Attributes:
        steps: how many places of an end are tried in each turn.
        turns: how often each end moves.
    """

    steps: int = 48
    turns: int = 2

    def __post_init__(self) -> None:
        if self.steps < 2 or self.turns < 1:
            raise ValueError(f"steps must be at least 2 and turns at least 1, got {self.steps}, {self.turns}")

    def choose(self, distribution: Distribution, kind: Kind) -> Grid:
        function = _silu if kind is Kind.BEFORE_SILU else _same
        used = distribution.counts > 0
        values, counts = distribution.centres[used], distribution.counts[used]
        if not len(values):
            return grid_over((distribution.low, distribution.high), kind)
        wanted = function(values)

        def error(grid: Grid) -> float:
            return float(counts @ np.square(function(_rounded(values, grid)) - wanted))

        fractions = np.linspace(1, 1 / self.steps, self.steps)
        low, high = min(distribution.low, 0.0), max(distribution.high, 0.0)
        best_low, best_high = low, high
        for _ in range(self.turns):
            ranges = [(best_low, high * fraction) for fraction in fractions]
            best_high = min(ranges, key=lambda ends: error(grid_over(ends, kind)))[1]
            ranges = [(low * fraction, best_high) for fraction in fractions]
            best_low = min(ranges, key=lambda ends: error(grid_over(ends, kind)))[0]
        return grid_over((best_low, best_high), kind)


OBSERVERS: dict[str, Callable[[], Observer]] = {
    "minmax": MinMax,
    "percentile": Percentile,
    "mse": MeanSquaredError,
}
"""Name in a recipe -> observer with its defaults."""


def grid_over(ends: Range, kind: Kind) -> Grid:
    """The grid that spans a range, with zero on it."""
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    if kind is Kind.SYMMETRIC:
        return Grid(max(-low, high, _TINY) / (255 - _SYMMETRIC_ZERO), _SYMMETRIC_ZERO)
    scale = max((high - low) / 255, _TINY)
    return Grid(scale, round(-low / scale))


def _rounded(values: np.ndarray, grid: Grid) -> np.ndarray:
    steps = np.clip(np.rint(values / grid.scale) + grid.zero_point, 0, 255)
    return (steps - grid.zero_point) * grid.scale


def _silu(values: np.ndarray) -> np.ndarray:
    return values * 0.5 * (1 + np.tanh(values / 2))


def _same(values: np.ndarray) -> np.ndarray:
    return values

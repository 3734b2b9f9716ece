"""What a batcher has done: counts, distributions, and the latest latencies."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass

MILLISECONDS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)

OUTCOMES = ("answered", "failed", "rejected", "expired", "cancelled")
"""failed: the image cannot be read or run; rejected: the queue was full; expired: past its deadline."""

_RECENT = 512
"""Answers over which the percentiles are taken."""


class Histogram:
    """Counts of values up to each of some bounds, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> Histogram:
        other = Histogram(self.bounds)
        other.counts, other.total = list(self.counts), self.total
        return other


@dataclass(frozen=True)
class Snapshot:
    """A batcher's numbers at one moment.

    Attributes:
        outcomes: requests by how they ended, one of `OUTCOMES`.
        batches, images: that the engine ran.
        pending: accepted and not answered yet.
        decode_ms, run_ms, total_ms, batch_size: distributions since the start.
        p50_ms, p99_ms: of the latest answers, from acceptance to answer; None before the first.
        images_per_second: of the latest answers; 0 when there was none for ten seconds.
        curve: (images, milliseconds) as measured; `chosen_batch` is what the policy makes of it.
    """

    outcomes: dict[str, int]
    batches: int
    images: int
    pending: int
    decode_ms: Histogram
    run_ms: Histogram
    total_ms: Histogram
    batch_size: Histogram
    p50_ms: float | None
    p99_ms: float | None
    images_per_second: float
    curve: list[tuple[int, float]]
    chosen_batch: int


class Metrics:
    """Collects from all threads of a batcher."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._batches = 0
        self._decode = Histogram(MILLISECONDS)
        self._run = Histogram(MILLISECONDS)
        self._total = Histogram(MILLISECONDS)
        self._sizes = Histogram(IMAGES)
        self._latest: deque[tuple[float, float]] = deque(maxlen=_RECENT)

    def count(self, outcome: str) -> None:
        with self._lock:
            self._outcomes[outcome] += 1

    def decoded(self, ms: float) -> None:
        with self._lock:
            self._decode.add(ms)

    def ran(self, run_ms: float, totals_ms: list[float]) -> None:
        """One batch: how long the engine took, and each image's whole latency."""
        now = time.perf_counter()
        with self._lock:
            self._batches += 1
            self._run.add(run_ms)
            self._sizes.add(len(totals_ms))
            self._outcomes["answered"] += len(totals_ms)
            for total in totals_ms:
                self._total.add(total)
                self._latest.append((now, total))

    def snapshot(self, *, pending: int, curve: list[tuple[int, float]], chosen_batch: int) -> Snapshot:
        with self._lock:
            latest = list(self._latest)
            fields = {
                "outcomes": dict(self._outcomes),
                "batches": self._batches,
                "images": int(self._sizes.total),
                "decode_ms": self._decode.copy(),
                "run_ms": self._run.copy(),
                "total_ms": self._total.copy(),
                "batch_size": self._sizes.copy(),
            }
        totals = sorted(total for _, total in latest)
        return Snapshot(
            **fields,
            pending=pending,
            p50_ms=percentile(totals, 0.5),
            p99_ms=percentile(totals, 0.99),
            images_per_second=_rate([when for when, _ in latest], time.perf_counter()),
            curve=curve,
            chosen_batch=chosen_batch,
        )


def percentile(ordered: list[float], share: float) -> float | None:
    """The value that `share` of the ordered values do not exceed; None of no values."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _rate(times: list[float], now: float) -> float:
    recent = [when for when in times if now - when < 10]
    return len(recent) / max(now - recent[0], 0.05) if recent else 0.0

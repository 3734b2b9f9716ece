"""What one core can do at best, measured: the yardstick for a profile."""

from __future__ import annotations

import time

import numpy as np

from mobilevit_fast import _C

_ROWS, _INNER, _COLUMNS = 2048, 256, 240
_SECONDS = 0.5


def measure_peak(isa: str) -> float:
    """Multiply-accumulates a second of one thread, at best, on a matrix product that fits its caches."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((_ROWS, _INNER), dtype=np.float32)
    weight = rng.standard_normal((_COLUMNS, _INNER), dtype=np.float32)
    out = np.empty((_ROWS, _COLUMNS), np.float32)
    best = np.inf
    deadline = time.perf_counter() + _SECONDS
    while time.perf_counter() < deadline:
        started = time.perf_counter()
        _C.ops.linear(rows, weight, out=out, isa=isa, threads=1)
        best = min(best, time.perf_counter() - started)
    return _ROWS * _INNER * _COLUMNS / best

"""A picture of a profile: each step's speed under what the machine's arithmetic and memory allow.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model" (2009).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilevit_fast.pictures import figure_class, save_picture
from mobilevit_fast.session import StepProfile

_BYTES = 64 * 2**20  # beyond the second-level cache of any core
_SECONDS = 0.3


def measure_bandwidth() -> float:
    """Bytes a second that one thread reads from memory too large for its second-level cache, at best."""
    values = np.ones(_BYTES // 8)
    best = np.inf
    deadline = time.perf_counter() + _SECONDS
    while time.perf_counter() < deadline:
        started = time.perf_counter()
        values.sum()
        best = min(best, time.perf_counter() - started)
    return _BYTES / best


def draw_roofline(
    steps: Sequence[StepProfile], peak: float, bandwidth: float, title: str, path: Path
) -> None:
    """Writes a picture (.png or .svg, by the name) of steps as points: MACs a byte across, MACs a second up.

    Args:
        steps: a profile; steps without multiply-accumulates are left out.
        peak: multiply-accumulates a second of all threads together.
        bandwidth: bytes a second of all threads together.
        title: stands above the picture.
        path: one that `check_picture` accepts.

    Raises ImportError where matplotlib is not installed.
    """
    figure = figure_class()(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(
        xscale="log", yscale="log", xlabel="MAC a byte", ylabel="GMAC a second", title=title
    )
    counted = [step for step in steps if step.macs]
    intensities = {step.name: step.macs / step.bytes for step in counted}
    low, high = min(intensities.values()) / 2, max(intensities.values()) * 2
    across = np.geomspace(low, high, 200)
    roof = np.minimum(peak, across * bandwidth) / 1e9
    label = f"limit: {peak / 1e9:.0f} GMAC/s, {bandwidth / 1e9:.0f} GB/s, both measured"
    axes.plot(across, roof, color="black", label=label)
    for kind in dict.fromkeys(step.kind for step in counted):
        own = [step for step in counted if step.kind == kind]
        axes.scatter(
            [intensities[step.name] for step in own],
            [step.macs / step.ms / 1e6 for step in own],
            s=[20 + 200 * step.ms / max(step.ms for step in counted) for step in own],
            alpha=0.6,
            label=f"{kind} ({sum(step.ms for step in own):.2f} ms)",
        )
    axes.legend(loc="lower right", fontsize="small")
    save_picture(figure, path, dpi=150)

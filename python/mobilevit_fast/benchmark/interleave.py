"""Times several things by turns in one process, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """How long to measure.

    Attributes:
        rounds: turns that each contender gets.
        seconds: of timed calls in a turn, `least_calls` of them at least; one where a call takes longer.
        pause: seconds before a turn. The thread pools of some peers spin on for a while after a call and
            would slow down whoever comes next.
    """

    rounds: int = 5
    seconds: float = 0.4
    least_calls: int = 3
    pause: float = 0.3


def interleave(contenders: Mapping[str, Callable[[], object]], pace: Pace) -> dict[str, float]:
    """Median seconds of a call of each contender, over all turns; each turn warms up first.

    The order of turns moves on by one each round, so that nobody always follows the same neighbour.
    """
    names = list(contenders)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(pace.rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            time.sleep(pace.pause)
            times[name] += _turn(contenders[name], pace)
    return {name: statistics.median(values) for name, values in times.items()}


def _turn(call: Callable[[], object], pace: Pace) -> list[float]:
    is_slow = _seconds(call) > pace.seconds
    if not is_slow:
        call()
    least_calls = 1 if is_slow else pace.least_calls
    times: list[float] = []
    while len(times) < least_calls or sum(times) < pace.seconds:
        times.append(_seconds(call))
    return times


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started

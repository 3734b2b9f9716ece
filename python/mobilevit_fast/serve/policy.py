"""How many images run together, and how long the first of them waits for the others."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mobilevit_fast.serve.latency_curve import LatencyCurve

_NEW_WEIGHT = 0.05
"""Share of a new measurement of decoding in the time kept."""


@dataclass
class BatchPolicy:
    """Decides from the latency curve.

    An image that arrives just after a batch has begun waits for that one and then runs in its own, so a
    latency target leaves each batch half of what decoding does not take.

    Attributes:
        max_batch: most images of a batch.
        max_delay_ms: longest that a decoded image waits for others, which are being decoded, while the engine
            is free.
        target_ms: latency that nearly all requests should keep; None for the greatest throughput.
        decode_ms: what decoding an image takes of it.
    """

    curve: LatencyCurve
    max_batch: int
    max_delay_ms: float
    target_ms: float | None = None
    decode_ms: float = 0.0

    def size(self) -> int:
        """Images that the next batch may hold: all there are room for, or what the target leaves."""
        if self.target_ms is None:
            return self.max_batch
        return self.curve.choose(self._share())

    def delay(self, count: int) -> float:
        """Seconds that the first of `count` decoded images waits for more; 0 where more would not pay."""
        wanted = self.size() if self.target_ms is not None else self.curve.choose(math.inf)
        if not self.max_delay_ms or not self.curve.waiting_pays(count, wanted):
            return 0.0
        slack = math.inf if self.target_ms is None else self._share() - self.curve.latency(wanted)
        return max(0.0, min(self.max_delay_ms, slack)) / 1e3

    def fitting(self, deadlines: list[float], now: float) -> int:
        """How many of the first requests can run together without one of them missing its deadline.

        At least 1: a request that is late whatever is done runs alone and holds up no one else.
        """
        count = len(deadlines)
        while count > 1 and now + self.curve.latency(count) / 1e3 > min(deadlines[:count]):
            count -= 1
        return max(count, 1)

    def note_decoding(self, ms: float) -> None:
        """Takes note of one image's decoding."""
        self.decode_ms += _NEW_WEIGHT * (ms - self.decode_ms)

    def _share(self) -> float:
        return max(0.0, ((self.target_ms or 0.0) - self.decode_ms) / 2)

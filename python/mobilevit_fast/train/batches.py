"""Which images make which batch, and of what size: decided by seed and epoch alone, for any number of
processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

_SCALES = (0.625, 0.75, 1.0, 1.125, 1.25)
_MULTIPLE = 32
"""The network halves a map five times."""


class Draw(NamedTuple):
    """One image of one batch: its number in the data set, the epoch, and the size to make of it."""

    index: int
    epoch: int
    size: int


def multi_scale_sizes(size: int) -> tuple[int, ...]:
    """Sizes around `size`, as the paper trains 256 with 160 to 320: multiples of 32."""
    return tuple(sorted({max(round(size * scale / _MULTIPLE), 1) * _MULTIPLE for scale in _SCALES}))


class Batches:
    """Batch sampler of a DataLoader: yields lists of `Draw`, shuffled anew in each epoch.

    A batch of all processes together is one run of the shuffled images, whatever their number, and has one
    size. What is left at the end of an epoch takes part in the next.

    Args:
        count: images in the data set.
        batch_size: images of one process in one batch; fewer where the data set has fewer.
        sizes: edges in pixels, of which each batch gets one at random.
        seed: of the order and the sizes.
        rank, processes: which process this is, of how many.

    Raises:
        ValueError: fewer images than processes.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        sizes: Sequence[int],
        *,
        seed: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        if count < processes:
            raise ValueError(f"{processes} processes need as many images, got {count}")
        self.count, self.sizes, self.seed = count, tuple(sizes), seed
        self.rank, self.processes = rank, processes
        self.batch_size = min(batch_size, count // processes)
        self.epoch = 0

    def __len__(self) -> int:
        return self.count // (self.batch_size * self.processes)

    def __iter__(self) -> Iterator[list[Draw]]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = random.permutation(self.count)
        sizes = random.choice(self.sizes, len(self))
        for batch, size in enumerate(sizes):
            start = (batch * self.processes + self.rank) * self.batch_size
            chosen = order[start : start + self.batch_size]
            yield [Draw(int(index), self.epoch, int(size)) for index in chosen]

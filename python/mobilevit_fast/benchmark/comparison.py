"""The same weights and images through this project's engine and through its peers, timed by turns."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilevit_fast.benchmark.interleave import Pace, interleave
from mobilevit_fast.benchmark.peers import Assets, Peer
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.benchmark.subject import Subject, float_twin, load_subject
from mobilevit_fast.lower import PRECISIONS
from mobilevit_fast.session import Session
from mobilevit_fast.weights import QuantizedCheckpoint

OURS = "mobilevit_fast"
OUR_FLOAT = "mobilevit_fast fp32"
"""Beside a quantised model: the same variant unquantised."""


@dataclass(frozen=True)
class Workload:
    """A model of `load_subject` at a batch size, image size (height, width) and number of threads."""

    model: str
    batch: int
    threads: int
    size: tuple[int, int] = (256, 256)


@dataclass(frozen=True)
class Result:
    """What one workload took.

    Attributes:
        isa: kernel table that ours ran.
        precision: what ours computed in.
        ms: contender -> median milliseconds an image.
        ratios: peer -> its time over ours.
        differences: peer -> largest difference of its logits from ours, relative to the largest logit.
            Empty where ours was quantised: each quantises in its own way.
    """

    workload: Workload
    isa: str
    precision: str
    ms: dict[str, float]
    ratios: dict[str, float]
    differences: dict[str, float]


def compare(
    workloads: Sequence[Workload],
    peers: Sequence[Peer],
    *,
    precision: str | None = None,
    isa: str | None = None,
    pace: Pace | None = None,
) -> Iterator[Result]:
    """Yields the result of each workload; workloads of one model should be neighbours, to share its files.

    Raises:
        ImportError: a peer's modules are not installed.
        FileNotFoundError: no such model.
        ValueError: an unknown model or ISA, a precision that is unknown or that this CPU lacks.
    """
    with tempfile.TemporaryDirectory(prefix="mobilevit_fast-bench-") as folder:
        for model, group in itertools.groupby(workloads, key=lambda workload: workload.model):
            subject = load_subject(model, precision)
            assets = Assets(float_twin(subject), Path(folder))
            for workload in group:
                yield compare_one(workload, subject, assets, peers, precision=precision, isa=isa, pace=pace)


def compare_one(
    workload: Workload,
    subject: Subject,
    assets: Assets,
    peers: Sequence[Peer],
    *,
    precision: str | None = None,
    isa: str | None = None,
    pace: Pace | None = None,
) -> Result:
    """The result of one workload of `subject`; the peers run `assets`, of the same variant. See `compare`."""
    images = random_images(workload.batch, *workload.size)
    session = Session(subject, precision=precision, threads=workload.threads, isa=isa)
    runs = {OURS: session.run}
    if isinstance(subject, QuantizedCheckpoint):
        runs[OUR_FLOAT] = Session(assets.checkpoint, threads=workload.threads, isa=isa).run
    for peer in peers:
        runs[peer.name] = peer.build(assets, images.shape, workload.threads, peer_precision(precision))
    expected = session.run(images)
    differences = {
        name: float(np.abs(run(images) - expected).max() / np.abs(expected).max())
        for name, run in runs.items()
        if name != OURS and subject is assets.checkpoint
    }
    calls = {name: (lambda run=run: run(images)) for name, run in runs.items()}
    seconds = interleave(calls, pace or Pace())
    return Result(
        workload=workload,
        isa=session.isa,
        precision=session.precision,
        ms={name: 1e3 * value / workload.batch for name, value in seconds.items()},
        ratios={name: value / seconds[OURS] for name, value in seconds.items() if name != OURS},
        differences=differences,
    )


def peer_precision(precision: str | None) -> str:
    """What peers compute in where ours is asked for `precision`: the same, each quantised in its own way."""
    return precision or PRECISIONS[0]


def pin(threads: int) -> list[int]:
    """Keeps this process on the first `threads` cores that it may use, which are returned.

    Raises ValueError where it may use fewer, and on systems that leave a process no choice. To be called
    before any peer starts its threads.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError("this system cannot keep a process on chosen cores; leave --pin out")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < threads:
        raise ValueError(f"cannot pin {threads} threads: this process may use {len(cores)} cores")
    os.sched_setaffinity(0, cores[:threads])
    return cores[:threads]

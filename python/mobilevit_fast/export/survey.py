"""One model in many formats, beside each other: size, speed, difference from the source, accuracy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mobilevit_fast.benchmark.interleave import Pace, interleave
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.evaluation import Dataset, evaluate
from mobilevit_fast.export.driver import VerificationError, export, load_exported
from mobilevit_fast.export.formats import FORMATS, Run, get_format
from mobilevit_fast.export.sources import Source, ready_precisions
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.session import Session

OURS = "mobilevit_fast"
BATCH = 8
"""Images at once, where throughput is measured."""


@dataclass(frozen=True)
class Entry:
    """A model in one format and precision.

    Attributes:
        bytes: of all its files; None for our own engine, which takes the source as it is.
        ms: for one image, None where what runs it here is no measure.
        images_per_second: `BATCH` at once where it takes any number, else one by one.
        max_relative_error: against the source, in our engine.
        top1: share of the data, 0 to 1; None without data.
    """

    format: str
    precision: str
    bytes: int | None
    ms: float | None
    images_per_second: float | None
    max_relative_error: float
    top1: float | None


@dataclass(frozen=True)
class Survey:
    """What was found; `left_out` has a reason for each format and precision that could not be had."""

    entries: tuple[Entry, ...]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class _Contender:
    """A model that runs, as `evaluate` takes it."""

    format: str
    precision: str
    bytes: int | None
    error: float
    most: int  # images at once
    is_timed: bool
    answer: Run
    preprocessing: Preprocessing
    labels: tuple[str, ...]

    def run(self, pixels: np.ndarray) -> np.ndarray:
        parts = range(0, len(pixels), self.most)
        # Copies: a runtime may write into what it is given.
        return np.concatenate([self.answer(pixels[at : at + self.most].copy()) for at in parts])


def survey(
    sources: Sequence[Source],
    formats: Sequence[str] | None = None,
    *,
    data: str | os.PathLike[str] | Dataset | None = None,
    limit: int | None = None,
    pace: Pace | None = None,
    progress: Callable[[Iterable[Any], int, str], Iterable[Any]] | None = None,
) -> Survey:
    """Exports each source to each format in each precision that both have, and measures what comes out.

    Args:
        sources: one model, or it and what quantisation made of it.
        formats: names of `FORMATS`; None for all.
        data: labelled images, for the accuracy.
        limit: use so many of them.
        pace: of the timing, in which all take turns.
        progress: wraps the exports, given their number and a title.

    Raises:
        ValueError: an unknown format, or sources that differ in more than their weights.
    """
    for other in sources[1:]:
        if (other.config, other.labels) != (sources[0].config, sources[0].labels):
            raise ValueError(
                "the models to compare must be one model and what quantisation made of it; "
                f"{sources[0].source} and {other.source} differ in their variant, size or classes"
            )
    rows = [get_format(name) for name in (FORMATS if formats is None else formats)]
    wanted = [
        (source, precision, row)
        for source in sources
        for precision in ready_precisions(source)
        for row in rows
        if precision in row.bounds
    ]
    steps = progress(wanted, len(wanted), "Exporting") if progress else wanted
    left_out: dict[str, str] = {}
    with TemporaryDirectory() as folder:
        contenders = [_ours(source) for source in sources]
        for index, (source, precision, row) in enumerate(steps):
            path = Path(folder) / f"{index}{row.suffix}"
            try:
                report = export(source, row.name, path, precision=precision)
            except (ImportError, VerificationError) as error:
                left_out[f"{row.name} {precision}"] = str(error)
                continue
            batches = report.options["batches"]
            contenders.append(
                _Contender(
                    row.name,
                    precision,
                    report.bytes,
                    report.max_relative_error,
                    max(batches) if batches else BATCH,
                    row.is_timed,
                    load_exported(source, report),
                    source.preprocessing,
                    source.labels,
                )
            )
        size = sources[0].preprocessing.crop_size or (sources[0].config.image_size,) * 2
        return Survey(tuple(_measured(contenders, size, data, limit, pace or Pace())), left_out)


def _ours(source: Source) -> _Contender:
    session = Session(source)
    return _Contender(
        OURS, session.precision, None, 0.0, BATCH, True, session.run, source.preprocessing, source.labels
    )


def _measured(
    contenders: Sequence[_Contender],
    size: tuple[int, int],
    data: str | os.PathLike[str] | Dataset | None,
    limit: int | None,
    pace: Pace,
) -> Iterator[Entry]:
    images = random_images(BATCH, *size)
    timed = {index: one for index, one in enumerate(contenders) if one.is_timed}
    single = interleave({str(i): _call(one, images[:1]) for i, one in timed.items()}, pace)
    several = interleave({str(i): _call(one, images) for i, one in timed.items()}, pace)
    for index, one in enumerate(contenders):
        seconds = single.get(str(index))
        yield Entry(
            one.format,
            one.precision,
            one.bytes,
            None if seconds is None else 1e3 * seconds,
            None if seconds is None else BATCH / several[str(index)],
            one.error,
            None if data is None else evaluate(one, data, limit=limit, batch_size=BATCH).top1,
        )


def _call(contender: _Contender, images: np.ndarray) -> Callable[[], object]:
    return lambda: contender.run(images)

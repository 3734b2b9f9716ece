"""An exported model beside its source, on the same images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.options import SIZE_STEP, Options
from mobilevit_fast.export.pictures import Pictures, made_pictures, read_pictures
from mobilevit_fast.files import replacing
from mobilevit_fast.image import ImageSource, Preprocessing
from mobilevit_fast.json_text import to_json
from mobilevit_fast.predictions import softmax
from mobilevit_fast.session import Session

IMAGES = 8
"""How many are compared, at least; as one batch, and one by one."""


@dataclass(frozen=True)
class Check:
    """One batch size and image size.

    Attributes:
        batch: images at once.
        size: height and width in pixels.
        max_relative_error: greatest difference over the greatest of the source's answers.
        top1_agreement: share of the images for which both answer the same class, 0 to 1.
    """

    batch: int
    size: tuple[int, int]
    max_relative_error: float
    top1_agreement: float


def report_path(path: str | os.PathLike) -> Path:
    """Where the report on an export to `path` is written."""
    return Path(f"{os.fspath(path)}.json")


@dataclass(frozen=True)
class Report:
    """What became of an export; the JSON beside it holds the same.

    Attributes:
        path: the file or folder.
        format, source: by name.
        options: as of `Options`.
        runtime: what ran it, with its version.
        bytes: of all files.
        bound: greatest relative error that passes.
        checks: one for each batch size and image size.
    """

    path: str
    format: str
    source: str
    options: dict[str, Any]
    runtime: str
    bytes: int
    bound: float
    checks: tuple[Check, ...]

    @property
    def max_relative_error(self) -> float:
        """Of the worst check."""
        return max(check.max_relative_error for check in self.checks)

    @property
    def top1_agreement(self) -> float:
        """Of the worst check."""
        return min(check.top1_agreement for check in self.checks)

    @property
    def passed(self) -> bool:
        """Whether every check stays within the bound."""
        # Not the other way round: an error that is no number passes no bound.
        return all(check.max_relative_error <= self.bound for check in self.checks)

    def to_data(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self) | {"passed": self.passed}

    def save(self) -> None:
        """Writes the JSON beside the file, under its name with ".json" behind it."""
        with replacing(report_path(self.path)) as temporary:
            temporary.write_text(to_json(self.to_data()) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.format} {self.options['precision']}, {self.bytes:,} bytes"]
        lines += [
            f"batch {check.batch}, {check.size[0]}x{check.size[1]}: relative error "
            f"{check.max_relative_error:.1e}, top-1 agreement {check.top1_agreement:.0%}"
            for check in self.checks
        ]
        verdict = "within" if self.passed else "WORSE THAN"
        return "\n".join([*lines, f"{verdict} {self.bound:.0e} of {self.source} ({self.runtime})"])


def check_sizes(options: Options) -> list[tuple[int, tuple[int, int]]]:
    """(batch, size) to compare at."""
    batches = options.batches or (1, IMAGES)
    sizes = [options.size]
    if options.dynamic_size:
        height, width = options.size
        sizes.append((height + SIZE_STEP, width + 3 * SIZE_STEP))
    return [(batch, size) for size in sizes for batch in batches]


def compare(
    run: Run,
    session: Session,
    options: Options,
    rule: Preprocessing,
    images: Sequence[ImageSource] | None = None,
) -> tuple[Check, ...]:
    """The exported model's answers beside the session's, for each of `check_sizes`.

    Args:
        images: to compare on; None for made ones.
    """
    checks, known = [], {}
    for batch, size in check_sizes(options):
        if size not in known:
            pictures = pictures_of(size, options, rule, images)
            known[size] = pictures, expected_answers(session, pictures.pixels, options)
        pictures, expected = known[size]
        given = pictures.given(options.raw_pixels)
        found = np.concatenate([run(part) for part in _batches(given, batch)])
        checks.append(check(batch, size, found, expected[: len(found)]))
    return tuple(checks)


def pictures_of(
    size: tuple[int, int],
    options: Options,
    rule: Preprocessing,
    images: Sequence[ImageSource] | None = None,
) -> Pictures:
    """Those that `compare` uses at one size."""
    count = max(IMAGES, *options.batches, 1)
    if images is None:
        return made_pictures(count, size, rule)
    chosen = [images[index % len(images)] for index in range(count)]
    return read_pictures(chosen, size, rule)


def _batches(images: np.ndarray, batch: int) -> list[np.ndarray]:
    """Whole ones only: a model may take no other."""
    starts = range(0, len(images) - batch + 1, batch)
    # Copies: a runtime may write into what it is given.
    return [images[start : start + batch].copy() for start in starts]


def expected_answers(session: Session, pixels: np.ndarray, options: Options) -> np.ndarray:
    """What the exported model should answer to preprocessed images."""
    logits = session.run(pixels)
    return softmax(logits) if options.softmax else logits


def check(batch: int, size: tuple[int, int], found: np.ndarray, expected: np.ndarray) -> Check:
    """One comparison of answers [N, classes]."""
    if found.shape != expected.shape:
        raise ValueError(f"the exported model answers {list(found.shape)}, expected {list(expected.shape)}")
    agreement = np.mean(found.argmax(axis=1) == expected.argmax(axis=1))
    return Check(batch, size, relative_error(found, expected), float(agreement))


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Greatest difference over the greatest of what was expected."""
    greatest = max(float(np.abs(expected).max()), np.finfo(np.float32).tiny)
    return float(np.abs(found.astype(np.float64) - expected).max() / greatest)

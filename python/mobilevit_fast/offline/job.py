"""Classifying a list of images into a file."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_fast.files import check_not_input, check_place
from mobilevit_fast.offline.results import ResultParts
from mobilevit_fast.offline.sources import ImageList
from mobilevit_fast.parquet import import_parquet
from mobilevit_fast.progress import Progress
from mobilevit_fast.session import Session

_PROBE = np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32)
"""An image whose logits tell models apart, wherever their weights lie."""

_PART = 1024
"""Images of one part: what an interruption may cost."""


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        images: all that the file now holds, the bad ones included.
        resumed: of these, those that an earlier run had done.
        errors: (name, reason) of the bad ones.
        seconds: this run took.
    """

    images: int
    resumed: int
    errors: list[tuple[str, str]]
    seconds: float


def classify_to_file(
    session: Session,
    images: ImageList,
    out: str | os.PathLike,
    *,
    top_k: int = 5,
    batch_size: int = 8,
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Writes a parquet file with a row for each image, in their order.

    Columns: image (name); label, index and score of the best answer; labels, indices and scores of the
    `top_k` best; error, null where the image is good. Bad images do not stop the run. Finished parts are
    kept beside `out` until all are done, so that the same call after an interruption goes on from there.

    Args:
        images: what `open_images` finds.
        out: the file, with the ending .parquet.
        top_k, batch_size: as in `Session.classify`.
        force: overwrite `out`, and begin anew whatever an earlier run has left.
        progress: wraps the images, given their number and a title, to show how far they have come.

    Raises:
        FileExistsError: `out` exists, and `force` is false.
        FileNotFoundError, PermissionError, IsADirectoryError: as `check_place` does.
        ValueError: another ending, or parts of another run beside `out`.
        ImportError: pyarrow is not installed.
    """
    began = time.perf_counter()
    import_parquet()
    path = Path(out)
    if path.suffix != ".parquet":
        raise ValueError(f"the output must end in .parquet, got {str(path)!r}")
    check_place(path)
    check_not_input(path, images.files())
    if path.exists() and not force:
        raise FileExistsError(f"{str(path)!r} exists; force=True (--force) overwrites it")
    if force:
        ResultParts.discard(path)
    parts = ResultParts(path, _describe(session, images, top_k))
    run = _Run(session, images, parts, top_k, batch_size)
    answers = run.answers()
    for _ in answers if progress is None else progress(answers, len(images), "Classifying"):
        pass
    parts.join(run.parts_done)
    return Summary(len(images), run.resumed, run.errors, time.perf_counter() - began)


class _Run:
    def __init__(
        self, session: Session, images: ImageList, parts: ResultParts, top_k: int, batch_size: int
    ) -> None:
        self._session, self._images, self._parts = session, images, parts
        self._top_k, self._batch_size = top_k, batch_size
        self.parts_done = self.resumed = 0
        self.errors: list[tuple[str, str]] = []

    def answers(self) -> Iterable[None]:
        """Does the work; yields once for each image."""
        for number, (names, sources) in enumerate(self._images.parts(_PART)):
            if self._parts.is_done(number):
                self.resumed += len(names)
                yield from (None for _ in names)
            else:
                answers = []
                for answer in self._session.classify_each(sources, self._top_k, self._batch_size):
                    answers.append(answer)
                    yield None
                self._parts.write(number, names, answers)
            self.errors += self._parts.errors_of(number)
            self.parts_done += 1


def _describe(session: Session, images: ImageList, top_k: int) -> dict[str, Any]:
    """What two runs must share for one to continue the other."""
    return {
        "model": session.source,
        "answer": hashlib.sha256(session.run(_PROBE).tobytes()).hexdigest(),
        "preprocessing": session.preprocessing.to_dict(),
        "precision": session.precision,
        "labels": hashlib.sha256("\0".join(session.labels).encode()).hexdigest(),
        "images": images.fingerprint(),
        "count": len(images),
        "part": _PART,
        "top_k": top_k,
    }

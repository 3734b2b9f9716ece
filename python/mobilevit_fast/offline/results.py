"""Answers on disk: parts that are whole or not there, joined to one parquet file at the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mobilevit_fast.files import replacing
from mobilevit_fast.parquet import import_parquet
from mobilevit_fast.predictions import Prediction

_JOB = "job.json"


class ResultParts:
    """The folder beside the output in which a run keeps what it has done.

    Args:
        out: the parquet file that it is for.
        job: what the run is; a folder of another run is not continued.

    Raises:
        ValueError: the folder belongs to another run.
    """

    def __init__(self, out: Path, job: dict[str, Any]) -> None:
        self._out = out
        self._folder = out.with_name(f"{out.name}.parts")
        description = json.dumps(job, indent=2, sort_keys=True)
        note = self._folder / _JOB
        if note.exists() and note.read_text(encoding="utf-8") != description:
            raise ValueError(
                f"{str(self._folder)!r} holds the parts of another run (other images, model or settings); "
                "repeat that run to finish it, or pass force=True (--force) to begin anew"
            )
        self._folder.mkdir(exist_ok=True)
        with replacing(note) as temporary:
            temporary.write_text(description, encoding="utf-8")

    @staticmethod
    def discard(out: Path) -> None:
        """Removes what an earlier run for `out` has left."""
        shutil.rmtree(out.with_name(f"{out.name}.parts"), ignore_errors=True)

    def is_done(self, number: int) -> bool:
        return self._path(number).exists()

    def errors_of(self, number: int) -> list[tuple[str, str]]:
        """(name, error) of the bad images in a part that is done."""
        _, parquet = import_parquet()
        table = parquet.read_table(self._path(number), columns=["image", "error"])
        rows = zip(*(table[name].to_pylist() for name in ("image", "error")), strict=True)
        return [(name, error) for name, error in rows if error is not None]

    def write(
        self, number: int, names: Sequence[str], answers: Sequence[list[Prediction] | Exception]
    ) -> None:
        """Writes one part."""
        pyarrow, parquet = import_parquet()
        good = [[] if isinstance(answer, Exception) else answer for answer in answers]
        errors = [
            " ".join(str(answer).split()) if isinstance(answer, Exception) else None for answer in answers
        ]
        firsts = [predictions[0] if predictions else None for predictions in good]
        columns = {
            "image": ([_as_text(name) for name in names], pyarrow.string()),
            "label": ([first and first.label for first in firsts], pyarrow.string()),
            "index": ([None if first is None else first.index for first in firsts], pyarrow.int32()),
            "score": ([None if first is None else first.score for first in firsts], pyarrow.float32()),
            "labels": ([[entry.label for entry in row] for row in good], pyarrow.list_(pyarrow.string())),
            "indices": ([[entry.index for entry in row] for row in good], pyarrow.list_(pyarrow.int32())),
            "scores": ([[entry.score for entry in row] for row in good], pyarrow.list_(pyarrow.float32())),
            "error": (errors, pyarrow.string()),
        }
        arrays = {name: pyarrow.array(values, kind) for name, (values, kind) in columns.items()}
        with replacing(self._path(number)) as temporary:
            parquet.write_table(pyarrow.table(arrays), temporary, compression="zstd")

    def join(self, count: int) -> None:
        """Joins `count` parts to the output, a row group each, and removes them."""
        _, parquet = import_parquet()
        with replacing(self._out) as temporary:
            schema = parquet.read_schema(self._path(0))
            with parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
                for number in range(count):
                    writer.write_table(parquet.read_table(self._path(number)))
        shutil.rmtree(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08}.parquet"


def _as_text(name: str) -> str:
    """A file's name in UTF-8; bytes of it that are not come as backslashes and digits."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

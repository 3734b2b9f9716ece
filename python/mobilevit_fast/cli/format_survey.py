"""`mobilevit-fast bench --formats`: one model in many formats, as a table, JSON, or a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from itertools import cycle
from pathlib import Path

import torch

from mobilevit_fast.benchmark.comparison import pin
from mobilevit_fast.benchmark.interleave import Pace
from mobilevit_fast.benchmark.subject import load_subject
from mobilevit_fast.cli.progress import show_progress
from mobilevit_fast.config import MODELS
from mobilevit_fast.export.survey import BATCH, Entry, Survey, survey
from mobilevit_fast.json_text import to_json
from mobilevit_fast.pictures import check_picture, figure_class, save_picture

ALL = "all"

MARKS = "os^DvP"
"""In the picture, one for each precision."""


def run_survey(
    models: Sequence[str],
    formats: Sequence[str],
    *,
    threads: int,
    rounds: int,
    data: Path | None,
    limit: int | None,
    as_json: bool,
    picture: Path | None,
) -> None:
    """Prints the table of `models`, which are one model and what quantisation made of it; variants with
    random weights come quantised too.

    Raises:
        ValueError, FileExistsError, FileNotFoundError, ImportError: as `check_picture` does for `picture`.
        ValueError: an unknown format, or different models.
    """
    if picture is not None:
        check_picture(picture)
    # Runtimes have as many threads as torch where they can be told, or as there are cores. More than cores
    # would wait for each other, hundreds of times as long as they compute.
    if hasattr(os, "sched_setaffinity"):
        pin(threads)
    torch.set_num_threads(threads)
    sources = [load_subject(model) for model in models]
    sources += [load_subject(model, "int8") for model in models if model in MODELS]
    found = survey(
        sources,
        None if list(formats) == [ALL] else formats,
        data=data,
        limit=limit,
        pace=Pace(rounds=rounds),
        progress=lambda steps, count, title: show_progress(steps, count, title, patience=0),
    )
    if as_json:
        data_of = {"entries": [asdict(entry) for entry in found.entries], "left_out": dict(found.left_out)}
        print(to_json(data_of))
    else:
        print(describe(found))
    if picture is not None:
        draw(found.entries, picture)


def describe(found: Survey) -> str:
    """A table in Markdown, and what was left out."""
    header = ["format", "precision", "MB", "ms", f"images/s of {BATCH}", "largest error", "top-1"]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    lines += ["| " + " | ".join(_cells(entry)) + " |" for entry in found.entries]
    lines += [f"left out: {name}: {reason}" for name, reason in found.left_out.items()]
    return "\n".join(lines)


def _cells(entry: Entry) -> list[str]:
    return [
        entry.format,
        entry.precision,
        "" if entry.bytes is None else f"{entry.bytes / 1e6:.2f}",
        "" if entry.ms is None else f"{entry.ms:.2f}",
        "" if entry.images_per_second is None else f"{entry.images_per_second:.1f}",
        f"{entry.max_relative_error:.1e}",
        "" if entry.top1 is None else f"{entry.top1:.2%}",
    ]


def draw(entries: Sequence[Entry], path: Path) -> None:
    """Latency across, size up; a colour for each format, a mark for each precision, and in the legend the
    accuracy where it is known.

    Raises ImportError where matplotlib is not installed.
    """
    figure = figure_class()(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    shown = [entry for entry in entries if entry.ms is not None and entry.bytes is not None]
    colours = {name: f"C{index}" for index, name in enumerate(dict.fromkeys(entry.format for entry in shown))}
    marks = dict(zip(dict.fromkeys(entry.precision for entry in shown), cycle(MARKS), strict=False))
    for entry in shown:
        name = f"{entry.format} {entry.precision}"
        axes.plot(
            entry.ms,
            entry.bytes / 1e6,
            marks[entry.precision],
            color=colours[entry.format],
            label=name if entry.top1 is None else f"{name}, {entry.top1:.1%}",
        )
    axes.set_xlabel("ms an image")
    axes.set_ylabel("MB")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    save_picture(figure, path)

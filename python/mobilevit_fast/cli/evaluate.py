"""`mobilevit-fast evaluate`: how often a model is right on labelled images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobilevit_fast.cli.exits import OK
from mobilevit_fast.cli.options import add_engine, add_json, open_session, positive
from mobilevit_fast.cli.progress import show_progress
from mobilevit_fast.cli.text import table
from mobilevit_fast.evaluation import Evaluation, evaluate
from mobilevit_fast.json_text import to_json
from mobilevit_fast.pictures import check_picture

EPILOG = """examples:
  mobilevit-fast evaluate mobilevit_xxs.cifar10 test.parquet --plot confusion.png
  mobilevit-fast evaluate small.safetensors photographs/ --limit 500

A folder holds one folder of images for each class, named as the model's labels are. A parquet file has the
columns image and label, as the datasets library writes it.
"""

_MOST_COLUMNS = 12
"""Classes up to which the whole confusion matrix is printed."""

_WORST = 10
"""Confusions that are printed instead."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument(
        "model", metavar="MODEL", help="embedded model, hub id, folder or file, float or quantised"
    )
    parser.add_argument("data", metavar="DATA", help="folder of class folders, or parquet file")
    add_limit(parser)
    parser.add_argument(
        "--batch", type=positive, default=16, metavar="N", help="images run together; default: 16"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the confusion matrix (.png or .svg)")
    add_json(parser)
    add_engine(parser)


def add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="so many images, spread evenly; default: all"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.plot:
        check_picture(arguments.plot)
    session = open_session(arguments.model, arguments)
    result = evaluate(
        session,
        arguments.data,
        limit=arguments.limit,
        batch_size=arguments.batch,
        progress=show_progress,
    )
    if arguments.plot:
        result.plot(arguments.plot)
    if arguments.json:
        print(to_json({"model": session.source} | to_data(result)))
    else:
        print(f"{session.source}: {session.precision}, {session.isa}\n{describe(result)}")
    return OK


def to_data(result: Evaluation) -> dict[str, Any]:
    return {
        "images": result.count,
        "top1": result.top1,
        "top5": result.top5,
        "labels": list(result.labels),
        "confusion": result.confusion.tolist(),
    }


def describe(result: Evaluation) -> str:
    """Shares, and the confusion matrix or the most frequent confusions."""
    lines = [f"top-1 {result.top1:.2%}  top-5 {result.top5:.2%}  of {result.count} images"]
    if len(result.labels) <= _MOST_COLUMNS:
        numbers = [str(number) for number in range(len(result.labels))]
        rows = [
            [f"{number} {label}", *map(str, counts)]
            for number, label, counts in zip(numbers, result.labels, result.confusion, strict=True)
        ]
        lines += ["", table(("label \\ answer", *numbers), rows)]
    elif confusions := result.worst_confusions(_WORST):
        rows = [[label, answer, str(count)] for label, answer, count in confusions]
        lines += ["", table(("label", "answered", "images"), rows, left=2)]
    return "\n".join(lines)

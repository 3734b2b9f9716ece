"""`mobilevit-fast classify`: photographs and folders of them in, labels out."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from mobilevit_fast.cli.exits import BAD_INPUT, OK, complain, warn
from mobilevit_fast.cli.options import DEFAULT_MODEL, add_engine, add_json, open_session, positive
from mobilevit_fast.cli.progress import show_progress
from mobilevit_fast.image import find_images
from mobilevit_fast.json_text import to_json
from mobilevit_fast.predictions import Prediction

EPILOG = """examples:
  mobilevit-fast classify photo.jpg
  mobilevit-fast classify --model apple/mobilevit-small --top-k 1 holiday/ cat.png
  mobilevit-fast classify photographs/ --out answers.parquet

With --out many images go into one parquet file, a row each; a bad one has its error in its row. PHOTO may
then also be a text file with one path a line (.txt), or one parquet file with a column of images, or of
their paths from the folder that it is in. A run that was interrupted goes on where it stopped when the same
command is given again.
"""

_MOST_LISTED = 20
"""Bad images that are named one by one."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="an image file, or a folder of them")
    parser.add_argument(
        *("-m", "--model"),
        default=DEFAULT_MODEL,
        metavar="SOURCE",
        help=f"embedded model, hub id, folder or file; default: {DEFAULT_MODEL}, a demonstration",
    )
    parser.add_argument(
        "-k", "--top-k", type=positive, default=5, metavar="K", help="labels an image; default: 5"
    )
    parser.add_argument(
        "--batch", type=positive, default=8, metavar="N", help="images run together; default: 8"
    )
    parser.add_argument(
        "-o", "--out", "--output", type=Path, metavar="FILE", help="write the answers to a parquet file"
    )
    parser.add_argument("--force", action="store_true", help="overwrite that file, and begin anew")
    add_json(parser)
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.out is not None:
        return write_answers(arguments)
    if arguments.force:
        raise ValueError("--force is for --out")
    photos = find_photos(arguments.photos)
    session = open_session(arguments.model, arguments)
    answers = session.classify_each(photos, arguments.top_k, arguments.batch)
    report, code = [], OK
    for photo, answer in zip(photos, show_progress(answers, len(photos), "Classifying"), strict=True):
        if isinstance(answer, Exception):
            complain(answer)
            report.append({"image": photo, "error": str(answer)})
            code = BAD_INPUT
        elif arguments.json:
            report.append({"image": photo, "predictions": [asdict(prediction) for prediction in answer]})
        else:
            print(describe(photo, answer))
    if arguments.json:
        print(to_json(report))
    return code


def write_answers(arguments: argparse.Namespace) -> int:
    """`--out`: bad images are listed, and are no failure of the command."""
    # Not at the top: a single photograph should not wait for what only many need.
    from mobilevit_fast.offline import classify_to_file, open_images

    images = open_images(arguments.photos)
    summary = classify_to_file(
        open_session(arguments.model, arguments),
        images,
        arguments.out,
        top_k=arguments.top_k,
        batch_size=arguments.batch,
        force=arguments.force,
        progress=show_progress,
    )
    if arguments.json:
        errors = [{"image": name, "error": error} for name, error in summary.errors]
        fields = {"images": summary.images, "resumed": summary.resumed, "seconds": round(summary.seconds, 3)}
        print(to_json({"out": str(arguments.out)} | fields | {"errors": errors}))
        return OK
    for name, error in summary.errors[:_MOST_LISTED]:
        warn(f"{name}: {error}")
    if len(summary.errors) > _MOST_LISTED:
        warn(f"... and {len(summary.errors) - _MOST_LISTED} more; see the column 'error'")
    resumed = f", {summary.resumed} of them done before" if summary.resumed else ""
    done = summary.images - summary.resumed
    print(
        f"{arguments.out}: {summary.images} images{resumed}, {len(summary.errors)} bad; "
        f"{summary.seconds:.1f} s, {done / summary.seconds:.0f} images/s"
    )
    return OK


def find_photos(paths: list[str]) -> list[str]:
    """The files that `paths` name, folders replaced by the photographs in them and in their folders.

    Raises ValueError for a folder without any, and for a parquet file. Whether a file exists and
    is an image shows when it is read.
    """
    photos = []
    for path in paths:
        if path.endswith(".parquet"):
            raise ValueError(f"{path!r} is no photograph; parquet files go with --out")
        photos.extend(map(str, find_images(path)) if os.path.isdir(path) else [path])
    return photos


def describe(photo: str, predictions: list[Prediction]) -> str:
    lines = [f"{prediction.score:7.1%}  {prediction.label}" for prediction in predictions]
    return "\n".join([photo, *lines]) if len(lines) > 1 else f"{lines[0]}  {photo}"

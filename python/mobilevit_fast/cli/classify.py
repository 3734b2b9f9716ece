"""`mobilevit-fast classify`: photographs and folders of them in, labels out."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict

from mobilevit_fast.cli.exits import BAD_INPUT, OK, complain
from mobilevit_fast.cli.options import DEFAULT_MODEL, add_engine, add_json, open_session, positive
from mobilevit_fast.cli.progress import show_progress
from mobilevit_fast.image import find_images
from mobilevit_fast.session import Prediction

EPILOG = """examples:
  mobilevit-fast classify photo.jpg
  mobilevit-fast classify --model apple/mobilevit-small --top-k 1 holiday/ cat.png
"""


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
    add_json(parser)
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
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
        print(json.dumps(report, indent=2))
    return code


def find_photos(paths: list[str]) -> list[str]:
    """The files that `paths` name, folders replaced by the photographs in them and in their folders.

    Raises ValueError for a folder without any. Whether a file exists and is an image shows when it is read.
    """
    photos = []
    for path in paths:
        photos.extend(map(str, find_images(path)) if os.path.isdir(path) else [path])
    return photos


def describe(photo: str, predictions: list[Prediction]) -> str:
    lines = [f"{prediction.score:7.1%}  {prediction.label}" for prediction in predictions]
    return "\n".join([photo, *lines]) if len(lines) > 1 else f"{lines[0]}  {photo}"

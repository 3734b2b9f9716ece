"""`mobilevit-fast sensitivity`: what quantising each layer alone does to the answers."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mobilevit_fast as mvf
from mobilevit_fast.cli.calibration import collecting_warnings, read_calibration
from mobilevit_fast.cli.evaluate import add_limit
from mobilevit_fast.cli.exits import OK, warn
from mobilevit_fast.cli.options import add_json
from mobilevit_fast.cli.progress import show_progress
from mobilevit_fast.json_text import to_json
from mobilevit_fast.pictures import check_picture

if TYPE_CHECKING:
    from mobilevit_fast.quantization import Sensitivity

EPILOG = """example:
  mobilevit-fast sensitivity mobilevit_xxs.cifar10 photographs/ --limit 64 --plot layers.png

SQNR is the power of the logits over that of their error. Divergence is that of the answers from the float
model's, in nats. With a parquet file, whose labels are known, the fall of top-1 is told as well.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("model", metavar="MODEL", help="embedded model, hub id, folder or file; float")
    parser.add_argument("data", metavar="DATA", help="folder of images, or parquet file")
    add_limit(parser)
    parser.add_argument(
        "--bits", type=int, nargs="+", default=[8, 4], metavar="N", help="of the weights; default: 8 4"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the bars (.png or .svg)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.plot:
        check_picture(arguments.plot)
    data = read_calibration(arguments.data, arguments.limit)
    with collecting_warnings() as told:
        result = mvf.sensitivity(arguments.model, data, bits=arguments.bits, progress=show_progress)
    if arguments.plot:
        result.plot(arguments.plot)
    print(to_json(_to_data(result)) if arguments.json else result)
    for warning in told:
        warn(warning)
    return OK


def _to_data(result: Sensitivity) -> list[dict[str, Any]]:
    """The rows; no ratio to the error, which JSON has no infinity for, where there is no error."""
    return [asdict(row) for row in result.rows]

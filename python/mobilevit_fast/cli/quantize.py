"""`mobilevit-fast quantize`: a smaller and faster model in one file, and what that cost."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import mobilevit_fast as mvf
from mobilevit_fast.cli.calibration import collecting_warnings, read_calibration
from mobilevit_fast.cli.comparison import Comparison, compare
from mobilevit_fast.cli.evaluate import add_limit
from mobilevit_fast.cli.exits import OK, VERIFICATION_FAILED, warn
from mobilevit_fast.cli.options import add_json, positive
from mobilevit_fast.cli.progress import show_progress
from mobilevit_fast.files import check_not_input, check_place
from mobilevit_fast.json_text import to_json
from mobilevit_fast.weights.sources import files_of

EPILOG = """examples:
  mobilevit-fast quantize apple/mobilevit-small --calibration photographs/ -o small.safetensors
  mobilevit-fast quantize mobilevit_xxs.cifar10 --recipe mixed --calibration train.parquet \\
      --evaluate test.parquet --max-loss 0.01 -o small.safetensors

recipes:
  static       8-bit weights and activations on calibrated grids: the fastest
  dynamic      8-bit weights; linear layers make bytes of their inputs at run time
  weight-only  8- or 4-bit weights (--bits, --group-size), computed in float
  half         16-bit weights (--dtype), computed in float
  mixed        4, 8 or 16 bits for each layer: a sixth of the size, or as --max-bytes or --max-loss say

With --max-loss a model that loses more is not written, and the exit code is 3.
"""

RECIPES = ("static", "dynamic", "weight-only", "half", "mixed")

_OPTIONS = {
    "bits": ("weight-only",),
    "group_size": ("weight-only",),
    "dtype": ("half",),
    "observer": ("static", "mixed"),
    "max_bytes": ("mixed",),
}
"""Option -> the recipes that have it, under the same name."""

TOLERABLE = 0.01
"""Fall of top-1, as a share of 1, that is worth a warning where --max-loss does not say."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("model", metavar="MODEL", help="embedded model, hub id, folder or file; float")
    parser.add_argument("--recipe", choices=RECIPES, default="static", help="default: static")
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        help="32 or more images like those the model will see: a folder or a parquet file; "
        "static and mixed need them, and weight-only in 4 bits loses far less with them",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=".safetensors")
    parser.add_argument("--force", action="store_true", help="overwrite the file")
    group = parser.add_argument_group("recipe")
    group.add_argument("--bits", type=int, choices=(8, 4), help="of weight-only; default: 8")
    group.add_argument(
        "--group-size", type=int, metavar="N", help="inputs that share a scale, of weight-only"
    )
    group.add_argument("--dtype", choices=("fp16", "bf16"), help="of half; default: fp16")
    group.add_argument(
        "--observer",
        choices=("mse", "percentile", "minmax"),
        help="how static and mixed choose grids; default: mse",
    )
    group.add_argument("--max-bytes", type=positive, metavar="N", help="size of mixed")
    group = parser.add_argument_group("verification")
    group.add_argument(
        "--evaluate", metavar="DATA", help="measure accuracy: a folder of class folders or a parquet file"
    )
    add_limit(group)
    group.add_argument(
        "--max-loss",
        type=share,
        metavar="SHARE",
        help="greatest fall of top-1, such as 0.01; needs --evaluate",
    )
    group.add_argument("--threads", type=positive, metavar="N", help="default: all cores of this process")
    group.add_argument("--isa", metavar="NAME", help="kernel table, such as avx2; default: the fastest")
    add_json(parser)


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, such as 0.01, got {text!r}")
    return value


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    validation = mvf.load_dataset(arguments.evaluate) if arguments.evaluate else None
    if validation is not None and arguments.limit:
        validation = validation.head(arguments.limit)
    checkpoint = mvf.load_checkpoint(arguments.model)
    # What would make the comparison fail is found before the work whose outcome would be lost.
    mvf.Session(checkpoint, threads=arguments.threads, isa=arguments.isa)
    if validation is not None:
        validation.labels_for(checkpoint.labels)
    with collecting_warnings() as told:
        model = mvf.quantize(
            checkpoint,
            make_recipe(arguments),
            calibration=_calibration(arguments),
            validation=validation,
            progress=show_progress,
        )
    comparison = compare(checkpoint, model, validation, threads=arguments.threads, isa=arguments.isa)
    allowed = TOLERABLE if arguments.max_loss is None else arguments.max_loss
    told += comparison.warnings(allowed)
    failed = arguments.max_loss is not None and comparison.exceeds(arguments.max_loss)
    if not failed:
        model.save(arguments.output)
    _print(arguments, comparison, model.report.notes, told, failed)
    return VERIFICATION_FAILED if failed else OK


def make_recipe(arguments: argparse.Namespace) -> Any:
    """The recipe that the options describe."""
    given = {name: getattr(arguments, name) for name in _OPTIONS if getattr(arguments, name) is not None}
    if arguments.recipe == "static":
        return mvf.StaticInt8(**given)
    if arguments.recipe == "dynamic":
        return mvf.DynamicInt8()
    if arguments.recipe == "weight-only":
        return mvf.WeightOnly(**given)
    if arguments.recipe == "half":
        return mvf.HalfPrecision(**given)
    return mvf.Mixed(arguments.max_loss, **given)


def _check(arguments: argparse.Namespace) -> None:
    """Raises ValueError or FileNotFoundError before any work is done."""
    output: Path = arguments.output
    if output.suffix != ".safetensors":
        raise ValueError(f"--output must end in .safetensors, got {str(output)!r}")
    check_place(output)
    check_not_input(output, files_of(arguments.model))
    if output.exists() and not arguments.force:
        raise FileExistsError(f"{str(output)!r} exists; --force overwrites it")
    if arguments.max_loss is not None and not arguments.evaluate:
        raise ValueError("--max-loss is measured on labelled images; name them with --evaluate")
    if arguments.limit and not arguments.evaluate:
        raise ValueError("--limit is for --evaluate")
    for name, recipes in _OPTIONS.items():
        if getattr(arguments, name) is not None and arguments.recipe not in recipes:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} is for --recipe {' or '.join(recipes)}, not {arguments.recipe}")
    if arguments.recipe in ("static", "mixed") and not arguments.calibration:
        raise ValueError(f"--recipe {arguments.recipe} needs --calibration, a folder of 32 or more images")


def _calibration(arguments: argparse.Namespace) -> list[Any] | None:
    if not arguments.calibration:
        return None
    images = read_calibration(arguments.calibration)
    return list(getattr(images, "images", images))


def _print(
    arguments: argparse.Namespace,
    comparison: Comparison,
    notes: tuple[str, ...],
    told: list[str],
    failed: bool,
) -> None:
    written = None if failed else str(arguments.output)
    if arguments.json:
        facts = {"output": written, "notes": list(notes), "warnings": told}
        print(to_json(comparison.to_data() | facts))
    else:
        print("\n".join([comparison.describe(), *notes]))
        print(f"written: {written}" if written else f"not written: {arguments.output}")
    for warning in told:
        warn(warning)

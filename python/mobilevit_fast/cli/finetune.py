"""`mobilevit-fast finetune`: a model for the user's own classes."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mobilevit_fast.cli.evaluate import describe
from mobilevit_fast.cli.exits import OK, warn
from mobilevit_fast.cli.finetune_options import add_options, make_arguments, make_recipe, make_rounding
from mobilevit_fast.cli.progress import show_progress
from mobilevit_fast.cli.text import table
from mobilevit_fast.cli.training_progress import TrainingProgress
from mobilevit_fast.evaluation import Columns
from mobilevit_fast.json_text import to_json
from mobilevit_fast.weights import check_repository, upload

EPILOG = """examples:
  mobilevit-fast finetune photographs/ --model apple/mobilevit-small -o flowers/
  mobilevit-fast finetune train.parquet --validation test.parquet --model mobilevit_xxs.cifar10 -o out/ \\
      --teacher large/ --qat static --set lr_scheduler_type=linear
  torchrun --nproc-per-node 2 -m mobilevit_fast finetune photographs/ --model flowers/ -o more/

DATA is a folder of one folder of images for each class, or of such folders named train and val; parquet
files as the datasets library writes them; a folder of its save_to_disk; or the id of a data set on the hub.
OUT is a folder that classify, Session and transformers' Auto classes load, with a report, curves, a confusion
matrix and a model card. An interrupted run goes on with --resume.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    recipe = make_recipe(arguments)
    if arguments.push_to_hub:
        check_repository(arguments.push_to_hub)
    elif arguments.private:
        raise ValueError("--private is for --push-to-hub")
    try:
        from mobilevit_fast.train.finetune import CHECKPOINTS, finetune
    except ModuleNotFoundError as error:
        raise ImportError(f"fine-tuning needs {error.name}: pip install 'mobilevit_fast[train]'") from error
    with TrainingProgress() as bar:
        made = finetune(
            arguments.data,
            arguments.model,
            arguments.output,
            recipe,
            validation=arguments.validation,
            columns=Columns(arguments.image_column, arguments.label_column),
            teacher=arguments.teacher,
            qat=make_rounding(arguments),
            save_steps=arguments.save_steps,
            resume=arguments.resume,
            force=arguments.force,
            arguments=make_arguments(arguments),
            report=bar,
            progress=show_progress,
        )
    if made is None:
        return OK
    for note in made.notes:
        if note.startswith("skipped"):
            warn(note)
    address = None
    if arguments.push_to_hub:
        leave_out = (f"{CHECKPOINTS}/*",)
        address = upload(made.folder, arguments.push_to_hub, private=arguments.private, leave_out=leave_out)
    print(to_json(_to_data(made, address)) if arguments.json else _describe(made, address))
    return OK


def _to_data(made: Any, address: str | None) -> dict[str, Any]:
    report = json.loads((made.folder / "report.json").read_text(encoding="utf-8"))
    return {"output": str(made.folder), "hub": address} | report


def _describe(made: Any, address: str | None) -> str:
    rows = [
        [row.label, str(row.images), f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}"]
        for row in made.evaluation.per_class()
    ]
    lines = [*made.notes, describe(made.evaluation), ""]
    lines.append(table(("class", "images", "precision", "recall", "F1"), rows))
    if made.integers is not None:
        path, result = made.integers
        lines.append(f"in integers: top-1 {result.top1:.2%}, {path}")
    lines.append(f"written: {made.folder}")
    if address:
        lines.append(f"pushed: {address}")
    return "\n".join(lines)

"""Fine-tuning: a checkpoint and labelled images in, a folder with a model for their classes out."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_fast.evaluation import Columns, Dataset, evaluate
from mobilevit_fast.model import from_pretrained, optimize
from mobilevit_fast.progress import Progress as Work
from mobilevit_fast.quantization import convert
from mobilevit_fast.train.phases import Phases, RoundingRecipe
from mobilevit_fast.train.preparation import Images, prepare_images, prepare_model
from mobilevit_fast.train.recipe import Recipe
from mobilevit_fast.train.report import REPORT, write_report
from mobilevit_fast.train.result import Finetuned
from mobilevit_fast.train.teacher import Teacher
from mobilevit_fast.train.trainer import Report
from mobilevit_fast.weights.sources import files_of

CHECKPOINTS = "checkpoints"
"""The folder in the output that a resumed training goes on from."""

INTEGER_FILE = "int8.safetensors"


def finetune(
    data: Any,
    model: str | os.PathLike,
    output: str | os.PathLike,
    recipe: Recipe | None = None,
    *,
    validation: Any = None,
    columns: Columns | None = None,
    teacher: str | os.PathLike | None = None,
    qat: RoundingRecipe | None = None,
    save_steps: int | None = None,
    resume: bool = False,
    force: bool = False,
    arguments: Mapping[str, Any] | None = None,
    report: Report | None = None,
    progress: Work | None = None,
) -> Finetuned | None:
    """Train a checkpoint further on images of other classes.

        finetune("photographs/", "apple/mobilevit-small", "out/", Recipe(epochs=20))
        Session("out/").classify("bee.jpg")

    Under torchrun or accelerate launch every process calls this with the same arguments.

    Args:
        data: as `load_splits` takes it.
        model: as `load_checkpoint` takes it; a variant's name with `recipe.from_scratch`.
        output: the folder to write.
        validation: labelled images to measure on, as `load_dataset` takes them.
        columns: which columns of a table to read.
        teacher: a checkpoint of the same classes to learn from as well.
        qat: train on with these roundings in place, and write an integer model beside the float one.
        save_steps: steps from one checkpoint to the next; None for one at the end of each epoch.
        resume: go on from the last whole checkpoint in `output`, to what an unbroken run would have given;
            a training that is done is only measured. Other settings than its own are refused.
        force: overwrite what an earlier run left in `output`.
        arguments: further fields of transformers' TrainingArguments, such as `{"bf16": True}`.
        report: is told of each step.
        progress: wraps other work that takes a while, as `quantize` takes it.

    Returns:
        what was made; None in all processes but the first.

    Raises:
        FileNotFoundError, ValueError, TypeError, ImportError: bad data, model or settings; each is named.
        FloatingPointError: the training diverged, so that no model is written; whole checkpoints stay.
        OSError: no space left on the device; the last whole checkpoint stays.
    """
    recipe = recipe or Recipe()
    folder = Path(output)
    is_first = int(os.environ.get("RANK", "0")) == 0
    if is_first:
        _check_output(folder, resume, force)
        _check_sources(folder, model, teacher)
    if qat is not None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("training with roundings (qat) runs in one process; leave it to a run of its own")
    images = prepare_images(data, recipe, validation=validation, columns=columns, progress=progress)
    start, order, notes = prepare_model(model, images.names, recipe)
    images = _renumbered(images, order, start.labels)
    taught = None if teacher is None else Teacher(teacher, start.labels, start.preprocessing)
    phases = Phases(
        recipe=recipe,
        images=images,
        teacher=taught,
        folder=folder / CHECKPOINTS,
        save_steps=save_steps,
        resume=resume,
        arguments=dict(arguments or {}),
        description={
            "data": _name(data),
            "model": _name(model),
            "teacher": _name(teacher),
            "classes": start.labels,
        },
        report=report,
    )
    began = time.monotonic()
    is_done = resume and _is_written(folder) and phases.was_trained()
    if is_first and not resume:
        _remove_earlier(folder)
    trained = from_pretrained(folder) if is_done else phases.train_float(start).eval()
    if not is_first:
        return None
    measured = evaluate(
        optimize(trained), images.validation, preprocessing=start.preprocessing, progress=progress
    )
    if not is_done:
        trained.save_pretrained(folder)
    made = Finetuned(folder, measured, (*notes, *images.notes))
    describe = partial(
        write_report, source=_name(model), recipe=recipe, images=images, history=phases.history()
    )
    describe(made, seconds=time.monotonic() - began)
    if qat is None:
        return made
    small = convert(phases.train_rounded(from_pretrained(folder), qat))
    measured = evaluate(small, images.validation, progress=progress)
    small.save(folder / INTEGER_FILE)
    made = replace(made, integers=(folder / INTEGER_FILE, measured))
    describe(made, seconds=time.monotonic() - began)
    return made


def _is_written(folder: Path) -> bool:
    """Whether a float model is there: the last of its files that is written."""
    return (folder / "config.json").is_file()


def _check_output(folder: Path, resume: bool, force: bool) -> None:
    """Raises ValueError where something is there that nobody allowed to replace."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file; name a folder to write")
    if resume or not folder.exists() or not any(folder.iterdir()):
        return
    if not force:
        goes_on = "resume=True (--resume) goes on with it, " if (folder / CHECKPOINTS).is_dir() else ""
        raise ValueError(f"{str(folder)!r} is not empty; {goes_on}force=True (--force) overwrites it")


def _check_sources(folder: Path, *sources: Any) -> None:
    """Raises ValueError where a model that is read lies where the new one is written."""
    for source in sources:
        if folder.is_dir() and any(os.path.samefile(file.parent, folder) for file in files_of(source)):
            raise ValueError(f"{_name(source)!r} lies in {str(folder)!r}, where the new model is written")


def _remove_earlier(folder: Path) -> None:
    """What an earlier run left; only now that all that may be wrong with data and model was found."""
    if (folder / CHECKPOINTS).exists():
        shutil.rmtree(folder / CHECKPOINTS)
    for name in ("config.json", REPORT, INTEGER_FILE):
        (folder / name).unlink(missing_ok=True)


def _renumbered(images: Images, order: list[int], names: tuple[str, ...]) -> Images:
    """The images with the model's class numbers, `order` being those of the data's classes."""
    table = np.asarray(order, np.int64)

    def renumbered(data: Dataset) -> Dataset:
        return replace(data, labels=table[data.labels], names=names)

    return replace(
        images, training=renumbered(images.training), validation=renumbered(images.validation), names=names
    )


def _name(source: Any) -> str | None:
    if source is None:
        return None
    return os.fspath(source) if isinstance(source, str | os.PathLike) else type(source).__name__

"""export(): a model in another runtime's format, checked by running it."""

from __future__ import annotations

import importlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from mobilevit_fast.export.format_options import FormatOptions
from mobilevit_fast.export.formats import FORMATS, Driver, Format, Run, get_format
from mobilevit_fast.export.job import Job
from mobilevit_fast.export.options import PRECISIONS, Options
from mobilevit_fast.export.rounding import rounding_error
from mobilevit_fast.export.sources import Source, ready_precisions, to_source
from mobilevit_fast.export.verification import Report, compare, pictures_of, report_path
from mobilevit_fast.files import check_folder_of, check_not_input
from mobilevit_fast.image import ImageSource, find_images
from mobilevit_fast.lower_quantized import compute_precision
from mobilevit_fast.quantization import QuantizedModel
from mobilevit_fast.session import Session
from mobilevit_fast.weights import Checkpoint, QuantizedCheckpoint
from mobilevit_fast.weights.sources import files_of

FAILED = ".failed"
"""Ending of what was written but does not answer as the source does."""


_MOST_ROUNDING = 0.25
"""The widest bound that the rounding of a quantised model's activations may make of its own."""


class UnknownOptionError(TypeError, ValueError):
    """An option that the format lacks: as any unknown keyword is, and a value from the command line."""


class VerificationError(Exception):
    """The exported model answers otherwise than its source.

    Attributes:
        report: what was found; its path is where the file was kept.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(
            f"the exported model differs from {report.source} by {report.max_relative_error:.1e}, more than "
            f"{report.bound:.0e}; it was kept as {report.path!r}"
        )
        self.report = report


def export(
    model_or_source: nn.Module | Checkpoint | QuantizedCheckpoint | QuantizedModel | str | os.PathLike[str],
    format: str,
    path: str | os.PathLike[str],
    *,
    precision: str | None = None,
    size: tuple[int, int] | None = None,
    dynamic_batch: bool | None = None,
    batches: Sequence[int] | None = None,
    dynamic_size: bool = False,
    raw_pixels: bool = False,
    softmax: bool = False,
    keep_custom_ops: bool = False,
    images: str | os.PathLike[str] | Sequence[ImageSource] | None = None,
    force: bool = False,
    **of_format: Any,
) -> Report:
    """Writes a model in another runtime's format, then runs it there and compares it with the source.

    Labels and preprocessing go into the file, in the format's own way. The outcome of the comparison is
    written beside it, as JSON under the file's name with ".json" behind it.

    Args:
        model_or_source: a module of this project, transformers or timm; whatever `Session` takes; or a
            `QuantizedModel`, which is exported on its own scales and zero points.
        format: one of `mobilevit_fast.export.FORMATS`, such as "onnx".
        path: the file or folder to write, with the format's own ending.
        precision: "fp32", "fp16", "bf16" or "int8"; the last for quantised models, and only those. None for
            what the model is in.
        size: (height, width) of the images in pixels; None for the model's own.
        dynamic_batch: take any number of images at once, or only one; None for what the format's models
            take for the most part: any number, in those that can.
        batches: numbers of images to take at once, and no others: a sequence of one, or where the format can,
            of several.
        dynamic_size: take images of any multiples of 32 pixels from 96.
        raw_pixels: take uint8 images [N, 3, H, W] in RGB order, and do scaling, normalisation and the order
            of channels inside; else float32 images as `preprocess` makes them.
        softmax: answer with probabilities instead of logits.
        keep_custom_ops: leave this package's operations in a float model: in "torch" as
            `torch.ops.mobilevit_fast.*`, for whoever has this package; in "onnx" as nodes of domain
            `mobilevit_fast`, with functions by which any runtime runs them.
        images: to compare on, a folder or a list of what `load_image` takes; None for made ones.
        force: overwrite `path`.
        of_format: what only some formats can be asked; `mobilevit_fast.export.FORMATS[format].options` has
            their names and meanings.

    Returns:
        what was written, and how near it is to the source.

    Raises:
        VerificationError: it is not near enough; it was kept, with ".failed" behind its name.
        ValueError, TypeError: an unknown format, precision or option, one that the model or format lacks, a
            path without the format's ending, or a source that is no classifier.
        FileExistsError: `path` exists, and `force` is not set, or it is a folder of other things.
        FileNotFoundError, PermissionError: the source, or the folder of `path`, is missing or not writable.
        IsADirectoryError: `path` is a folder, and the format is a file.
        ImportError: the format's extra is not installed; says how to.
    """
    chosen, path = get_format(format), Path(path)
    _check_path(path, chosen, force)
    check_not_input(path, files_of(model_or_source))
    driver = chosen.driver()
    source = to_source(model_or_source)
    own_size = source.preprocessing.crop_size or (source.config.image_size,) * 2
    options = Options(
        precision=_choose_precision(precision, source, chosen),
        size=size or own_size,
        batches=_choose_batches(dynamic_batch, batches, chosen),
        dynamic_size=_check_dynamic_size(dynamic_size, chosen),
        raw_pixels=raw_pixels,
        softmax=softmax,
        keep_custom_ops=keep_custom_ops,
        of_format=_choose_options(of_format, chosen),
    )
    _check_custom_ops(options, source, chosen)
    job = Job(source, chosen.name, options)
    session = Session(source)
    photographs = find_images(images) if isinstance(images, str | os.PathLike) else images
    if photographs is not None and not len(photographs):
        raise ValueError("no images were given to compare on; leave out images for made ones")
    with _folder_beside(path) as folder:
        driver.write(job, folder / path.name)
        checks = compare(
            driver.load(job, folder / path.name), session, options, source.preprocessing, photographs
        )
        if hasattr(driver, "further_checks"):
            checks += driver.further_checks(job, folder / path.name, session)
        bound = _bound(chosen, source, session, options, photographs)
        ending = "" if all(check.max_relative_error <= bound for check in checks) else FAILED
        report = Report(
            path=f"{path}{ending}",
            format=chosen.name,
            source=source.source,
            options=options.to_dict(),
            runtime=f"{chosen.runtime} {_runtime_version(chosen, driver, folder / path.name)}",
            bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
            bound=bound,
            checks=checks,
        )
        if not force:
            _check_free(path, chosen)  # again, for this took a while
        for written in list(folder.iterdir()):
            _replace(written, path.with_name(f"{written.name}{ending}"))
    report.save()
    if not report.passed:
        raise VerificationError(report)
    return report


def load_exported(model_or_source: Any, report: Report) -> Run:
    """What `export` wrote for this source, in the format's own runtime.

    Returns:
        a function from images, as the exported model takes them, to its answers; as many images at once as
        it was exported for.
    """
    chosen = get_format(report.format)
    given = dict(report.options)
    of_format = {name: given.pop(name) for name in chosen.option_names() if name in given}
    options = Options(
        **given | {name: tuple(given[name]) for name in ("size", "batches")},
        of_format=chosen.options(**of_format),
    )
    return chosen.driver().load(Job(to_source(model_or_source), chosen.name, options), Path(report.path))


def _bound(
    chosen: Format,
    source: Source,
    session: Session,
    options: Options,
    photographs: Sequence[ImageSource] | None,
) -> float:
    """Greatest relative error that passes: the format's, or the quantiser's own where that is greater."""
    bound = options.of_format.bound or chosen.bounds[options.precision]
    if options.precision != "int8" or not chosen.is_traced:
        return bound
    pictures = pictures_of(options.size, options, source.preprocessing, photographs)
    return max(bound, min(_MOST_ROUNDING, rounding_error(source, session, options, pictures)))


def _runtime_version(chosen: Format, driver: Driver, path: Path) -> str:
    if hasattr(driver, "runtime_version"):
        return driver.runtime_version(path)
    return importlib.import_module(chosen.runtime).__version__


def _check_path(path: Path, chosen: Format, force: bool) -> None:
    if path.suffix != chosen.suffix:
        expected = f"end in {chosen.suffix}" if chosen.suffix else "be a folder's name, without an ending"
        raise ValueError(f"the path of format {chosen.name!r} must {expected}, got {str(path)!r}")
    check_folder_of(path)
    if not force:
        _check_free(path, chosen)
    report = report_path(path)
    for output in (*chosen.outputs(path), report):
        if output.is_dir() and (output == report or not chosen.is_folder):
            raise IsADirectoryError(f"{str(output)!r} is a folder; name a file")
        if output.is_dir() and any(output.iterdir()) and not report.is_file():
            raise FileExistsError(
                f"{str(output)!r} is a folder that no export has written, for there is no {report.name!r} "
                "beside it; name another"
            )


def _check_free(path: Path, chosen: Format) -> None:
    for output in (*chosen.outputs(path), report_path(path)):
        if output.exists():
            raise FileExistsError(f"{str(output)!r} exists; force=True (--force) overwrites it")


def _choose_precision(wanted: str | None, source: Source, chosen: Format) -> str:
    ready = ready_precisions(source)
    precision = ready[0] if wanted is None else wanted
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}")
    if precision not in chosen.bounds:
        raise ValueError(
            f"format {chosen.name!r} has no precision {precision!r}; it has {', '.join(chosen.bounds)}"
        )
    if precision not in ready:
        advice = "quantize() makes one that is" if precision == "int8" else "export the float model for that"
        kind = "not quantised" if precision == "int8" else "quantised, and goes out as int8"
        raise ValueError(f"precision {precision!r} is not available: {source.source!r} is {kind}; {advice}")
    return precision


def _choose_batches(dynamic: bool | None, wanted: Sequence[int] | None, chosen: Format) -> tuple[int, ...]:
    if wanted is not None and not isinstance(wanted, Sequence):
        raise TypeError(f"batches must be a sequence of numbers of images, such as [4], got {wanted!r}")
    if wanted is None:
        wanted = chosen.batches if dynamic is None else () if dynamic else (1,)
    elif dynamic or not wanted:
        raise ValueError(f"give either dynamic_batch or numbers of images in batches, got {wanted!r}")
    if not wanted and not chosen.dynamic_batch:
        able = _names(lambda row: row.dynamic_batch)
        raise ValueError(f"format {chosen.name!r} takes fixed numbers of images; any number go into {able}")
    if len(set(wanted)) > 1 and not chosen.several_batches:
        able = _names(lambda row: row.several_batches) or "no format"
        raise ValueError(f"format {chosen.name!r} takes one number of images; {able} takes several")
    return tuple(wanted)


def _check_dynamic_size(wanted: bool, chosen: Format) -> bool:
    if wanted and not chosen.dynamic_size:
        able = _names(lambda row: row.dynamic_size)
        raise ValueError(f"format {chosen.name!r} takes images of one size; several go into {able}")
    return wanted


def _choose_options(wanted: dict[str, Any], chosen: Format) -> FormatOptions:
    own = chosen.option_names()
    for name in wanted:
        if name not in own:
            able = _names(lambda row, name=name: name in row.option_names())
            has = f"it has {', '.join(own)}" if own else "it has none of its own"
            hint = f"{name} is for {able}" if able else has
            raise UnknownOptionError(f"format {chosen.name!r} has no option {name!r}; {hint}")
    return chosen.options(**wanted)


def _names(has: Callable[[Format], bool]) -> str:
    return ", ".join(row.name for row in FORMATS.values() if has(row))


def _check_custom_ops(options: Options, source: Source, chosen: Format) -> None:
    if not options.keep_custom_ops:
        return
    if not chosen.keeps_custom_ops:
        able = _names(lambda row: row.keeps_custom_ops)
        raise ValueError(
            f"format {chosen.name!r} holds standard operators only; keep_custom_ops is for {able}"
        )
    if not isinstance(source, QuantizedCheckpoint):
        return
    if not chosen.keeps_int8_ops:
        able = _names(lambda row: row.keeps_int8_ops)
        raise ValueError(
            f"in format {chosen.name!r} a quantised model goes out in standard operators; keep_custom_ops is "
            f"for {able} there"
        )
    if compute_precision(source) != "int8":
        raise ValueError(
            f"{source.source!r} does not compute on bytes throughout, and goes out in standard operators; "
            "leave out keep_custom_ops"
        )


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    folder = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _replace(written: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(written, target)

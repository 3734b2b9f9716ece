"""Our own plan in one .safetensors file: what the C library runs, and `Session` too.

The plan is for one precision and any number and size of images. Labels and preprocessing lie in the file,
and the library prepares photographs by itself: raw pixels and probabilities need no model of their own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mobilevit_fast.c_library import CModel, library_version
from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job
from mobilevit_fast.export.pictures import made_pictures
from mobilevit_fast.export.verification import Check, check
from mobilevit_fast.image import preprocess
from mobilevit_fast.precision import lower_to_plan, own_precision
from mobilevit_fast.session import Session
from mobilevit_fast.weights import NativeModel, QuantizedCheckpoint, save_native

_LARGER = 1.3
"""How much larger than the model's images the photographs are that the library has to prepare."""


def write(job: Job, path: Path) -> None:
    """Raises ValueError for options that the format has no use for."""
    source, options = job.source, job.options
    own_size = source.preprocessing.crop_size or (source.config.image_size,) * 2
    for is_asked, name, advice in (
        (options.size != own_size, "size", "it runs images of any size as it is"),
        (options.batches, "batches", "it takes any number of images"),
        (options.raw_pixels, "raw_pixels", "mvf_run_rgb takes them, and prepares them"),
        (options.softmax, "softmax", "it answers with logits"),
    ):
        if is_asked:
            raise ValueError(f"format 'native' has no option {name}: {advice}")
    precision = options.precision
    if isinstance(source, QuantizedCheckpoint) and precision not in ("bf16", "fp32"):
        precision = own_precision(source)
    model = NativeModel(
        config=source.config,
        plan=lower_to_plan(source, precision),
        precision=precision,
        preprocessing=source.preprocessing,
        labels=source.labels,
        source=source.source,
    )
    save_native(path, model, own_size)


def load(job: Job, path: Path) -> Run:
    return CModel(path).run


def further_checks(job: Job, path: Path, session: Session) -> tuple[Check, ...]:
    """A photograph of another size than the model's, which the library prepares by itself."""
    height, width = (round(edge * _LARGER) for edge in job.options.size)
    picture = made_pictures(1, (height, width), job.source.preprocessing).raw[0]
    rgb = np.ascontiguousarray(picture.transpose(1, 2, 0))
    expected = session.run(preprocess(Image.fromarray(rgb), session.preprocessing))
    found = CModel(path).run_rgb(rgb)
    return (check(1, (height, width), found[None], expected),)


def runtime_version(path: Path) -> str:
    return library_version()

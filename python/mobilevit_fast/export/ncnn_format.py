"""ncnn's .param and .bin, made by pnnx; labels and preprocessing in a .metadata.json beside them.

A model takes one image, as blob `INPUT`: float32, also where it takes raw pixels, for that is what
`ncnn::Mat::from_pixels` makes of bytes. Its answer is blob `OUTPUT`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import ncnn
import numpy as np
import pnnx
import torch

from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job, quietly

INPUT, OUTPUT = "in0", "out0"

METADATA = ".metadata.json"

_NARROWING = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")
"""What ncnn does to numbers by its own choice, where the CPU is good at it."""


def write(job: Job, path: Path) -> None:
    """Raises ValueError for several images at once, and RuntimeError where pnnx fails."""
    if job.options.batches != (1,):
        raise ValueError(f"format 'ncnn' takes one image at a time, not {job.options.batches}")
    with TemporaryDirectory() as folder:
        # pnnx writes seven files more beside its input.
        _convert(job, Path(folder) / "model.pt", path)
    facts = job.metadata | {"input": INPUT, "output": OUTPUT}
    path.with_suffix(METADATA).write_text(
        json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def load(job: Job, path: Path) -> Run:
    net = ncnn.Net()
    net.opt.num_threads = torch.get_num_threads()
    for option in _NARROWING:
        setattr(net.opt, option, False)
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise RuntimeError(f"ncnn cannot load what pnnx made of the model: {path.name}")

    def answer(image: np.ndarray) -> np.ndarray:
        # In a variable: a Mat is a view, and keeps no array alive.
        pixels = np.ascontiguousarray(image, np.float32)
        with net.create_extractor() as extractor:
            extractor.input(INPUT, ncnn.Mat(pixels).clone())
            return np.array(extractor.extract(OUTPUT)[1]).reshape(-1)

    return lambda images: np.stack([answer(image) for image in images])


def _convert(job: Job, program: Path, path: Path) -> None:
    # pnnx narrows weights itself, and ncnn computes in what the device is best at.
    job = job.with_float_pixels()
    model, example = job.as_fp32().lowered().module(check_guards=False), job.example()
    with quietly():
        torch.jit.trace(model, (example,), check_trace=False).save(str(program))
    outcome = subprocess.run(
        [
            pnnx.EXEC_PATH,
            program.name,
            f"inputshape={list(example.shape)}f32".replace(" ", ""),
            f"fp16={int(job.options.precision == 'fp16')}",
            f"ncnnparam={path.resolve()}",
            f"ncnnbin={path.with_suffix('.bin').resolve()}",
        ],
        cwd=program.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if outcome.returncode or not path.exists():
        raise RuntimeError(f"pnnx failed with exit code {outcome.returncode}: {outcome.stderr[-2000:]}")

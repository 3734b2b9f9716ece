"""ExecuTorch programs, .pte, for its XNNPACK delegate; labels and preprocessing as constant methods.

`METHOD` takes the images; method "labels" answers the labels as JSON text, and so on for every key of
`Job.metadata`. A program is bound to one number of images: its memory is planned for it.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job, quietly

METHOD = "forward"


def write(job: Job, path: Path) -> None:
    with quietly():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        edge = to_edge_transform_and_lower(
            job.lowered(), partitioner=[XnnpackPartitioner()], constant_methods=job.metadata
        )
        path.write_bytes(edge.to_executorch().buffer)


def load(job: Job, path: Path) -> Run:
    with quietly():
        from executorch.runtime import Runtime

        program = Runtime.get().load_program(path)
    method = program.load_method(METHOD)

    def run(images: np.ndarray) -> np.ndarray:
        # A copy, for the answer lies in memory that the next call writes to.
        return method.execute([torch.from_numpy(images)])[0].numpy().copy()

    return run


def runtime_version(path: Path) -> str:
    """It has no `__version__` of its own."""
    return version("executorch")
